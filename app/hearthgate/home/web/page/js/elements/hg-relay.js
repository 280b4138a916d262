/**
 * One relay: how it is doing, what it lets us use, and what can be done about it.
 */

import { h } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { grantedDomains } from "../hostname.js";
import { list, milliseconds, t } from "../i18n.js";
import { wish } from "../wish.js";
import { openDialog } from "./dialog.js";
import { icon } from "./hg-icon.js";
import { ChooseEvent } from "./hg-menu.js";

const STATES = {
  connected: { text: "relay.connected", color: "good" },
  connecting: { text: "relay.connecting", color: "busy" },
  waiting: { text: "relay.waiting", color: "wait" },
  refused: { text: "relay.refused", color: "bad" },
};

class HgRelay extends HgElement {
  build() {
    this.className = "row";
    this.dot = h("span", { class: "dot" });
    this.host = h("span", { class: "row-name" });
    this.state = h("span");
    this.trip = h("span");
    this.sealed = h("span", { class: "fact" }, icon("lock"), h("span", {}, t("relay.sealed")));
    this.facts = h("p", { class: "row-facts" });
    this.menu = h("hg-menu");
    this.again = h("button", { type: "button", class: "button small" }, t("relay.reconnect"));
    this.problem = h("hg-problem", { actions: [this.again] });
    this.refusal = h("hg-problem", { alert: true });
    this.append(
      h("div", { class: "row-icon relay-icon" }, icon("relay")),
      h("div", { class: "row-text" },
        this.host,
        h("p", { class: "row-facts" }, h("span", { class: "fact" }, this.dot, this.state), this.trip,
          this.sealed),
        this.facts),
      this.menu,
      h("div", { class: "row-details" }, this.problem, this.refusal));
  }

  listen(signal) {
    this.again.addEventListener("click", () => this.#reconnect(), { signal });
    this.menu.addEventListener(ChooseEvent.NAME, ({ action }) => {
      if (action === "reconnect") this.#reconnect();
      else this.#forget();
    }, { signal });
  }

  update() {
    const { host, name, state, addresses, problem, sealed, rtt_ms: trip } = this.relay;
    const { text, color } = STATES[state] ?? STATES.connecting;
    this.host.textContent = host;
    this.dot.dataset.color = color;
    this.state.textContent = t(text);
    this.trip.hidden = state !== "connected" || trip === null;
    this.trip.textContent = this.trip.hidden ? "" : t("relay.trip", { time: milliseconds(trip) });
    this.sealed.hidden = state !== "connected" || !sealed;
    this.facts.replaceChildren(
      ...grantedDomains([this.relay]).map(({ shown }) =>
        h("span", { class: "chip", dir: "ltr" }, `*.${shown}`)),
      h("span", {}, t("relay.known_as", { name, addresses: list(addresses) })));
    this.problem.level = state === "refused" ? "error" : "warning";
    this.problem.problem = state === "connected" ? null : this.#trouble(problem);
    this.menu.label = t("menu.relay", { name: host });
    this.menu.items = [
      { action: "reconnect", text: t("relay.reconnect"), icon: "retry" },
      { action: "forget", text: t("relay.forget"), icon: "remove", danger: true },
    ];
  }

  /** A relay that waits without a reason still deserves a word. */
  #trouble(problem) {
    if (problem || this.relay.state !== "waiting") return problem;
    return { message: t("relay.away") };
  }

  async #reconnect() {
    this.refusal.problem = null;
    this.again.disabled = true;
    try {
      await wish(this, "reconnect", { id: this.relay.id });
    } catch (error) {
      this.refusal.problem = error;
    } finally {
      this.again.disabled = false;
    }
  }

  #forget() {
    const { id, host } = this.relay;
    const dialog = h("hg-confirm-dialog", {
      question: t("relay.forget_title", { host }),
      consequence: t("relay.forget_text", { host }),
      verb: t("relay.forget_submit"),
      danger: true,
    });
    dialog.run = () => wish(dialog, "forgetRelay", { id });
    openDialog(this, dialog);
  }
}

properties(HgRelay, { relay: null });
customElements.define("hg-relay", HgRelay);
