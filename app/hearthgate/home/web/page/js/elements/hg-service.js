/**
 * One service: what it is, how it is, its switch, and how far its exposure has come.
 *
 *     flip ─▶ already asked once? ─ yes ─▶ wish ─▶ pending until the home confirms
 *                    └─ no ─▶ hg-expose-dialog        └─ refused: back, with the reason
 */

import { h, isWebAddress } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { t } from "../i18n.js";
import { openTrustNote } from "../local-trust.js";
import { isLive, isWorking } from "../phases.js";
import { sentence, told } from "../problems.js";
import { wish } from "../wish.js";
import { openDialog } from "./dialog.js";
import { ChooseEvent } from "./hg-menu.js";
import { FlipEvent } from "./hg-toggle.js";
import { serviceDialogs, serviceMenu } from "./service-menu.js";

class HgService extends HgElement {
  #wanted = null; // what the switch was asked for while the answer is on its way

  build() {
    this.className = "row";
    this.icon = h("hg-service-icon", { service: this.service });
    this.name = h("span", { class: "row-name" });
    this.pageTitle = h("span", { class: "row-title" });
    this.dot = h("span", { class: "dot" });
    this.state = h("span");
    this.address = h("a", { target: "_blank", rel: "noopener noreferrer", class: "home-address" });
    this.moved = h("p", { class: "row-facts" });
    this.toggle = h("hg-toggle");
    this.menu = h("hg-menu");
    this.progress = h("hg-progress");
    this.link = h("hg-public-link");
    this.again = h("button", { type: "button", class: "button small" }, t("service.retry"));
    this.problem = h("hg-problem", { actions: [this.again] });
    this.notice = h("hg-problem", { level: "info" });
    this.trust = h("hg-problem", { level: "warning" });
    this.refusal = h("hg-problem", { alert: true });
    this.append(
      h("div", { class: "row-icon" }, this.icon),
      h("div", { class: "row-text" },
        h("p", { class: "row-names" }, this.name, this.pageTitle),
        h("p", { class: "row-facts" }, h("span", { class: "fact" }, this.dot, this.state), this.address),
        this.moved),
      this.toggle, this.menu,
      h("div", { class: "row-details" },
        this.progress, this.link, this.problem, this.notice, this.trust, this.refusal));
  }

  listen(signal) {
    this.toggle.addEventListener(FlipEvent.NAME, ({ wanted }) => this.#flip(wanted), { signal });
    this.again.addEventListener("click", () => this.#ask("retry", {}), { signal });
    this.menu.addEventListener(ChooseEvent.NAME, ({ action }) => {
      openDialog(this, serviceDialogs[action](this));
    }, { signal });
  }

  update() {
    const { service } = this;
    const { exposure, name } = service;
    this.icon.service = service;
    this.name.textContent = name;
    this.pageTitle.textContent = service.title && service.title !== name ? service.title : "";
    this.address.textContent = service.url.replace(/\/$/, "");
    if (isWebAddress(service.url)) this.address.href = service.url;
    else this.address.removeAttribute("href");
    this.moved.hidden = !service.moved_from;
    this.moved.textContent = service.moved_from ? t("service.moved", { from: service.moved_from }) : "";
    this.#updateState();
    this.#updateToggle();
    this.menu.label = t("menu.service", { name });
    this.menu.items = serviceMenu(service, this.relays, this.mqtt);
    // Forwards have no certificate to wait for, and so no steps.
    this.progress.exposure = exposure?.public_port ? null : exposure;
    this.link.exposure = exposure;
    this.#updateProblems();
    this.dataset.live = String(isLive(exposure));
  }

  #updateState() {
    const { reachable, problem, present, exposure } = this.service;
    const [color, text] = exposure?.status.phase === "switching_off"
      ? ["busy", t("service.switching_off")]
      : present === false && reachable !== true
        ? ["wait", t("service.absent")]
        : reachable === null
          ? ["idle", problem ? sentence(problem) : t("service.probing")]
          : reachable
            ? ["good", t("service.reachable")]
            : ["bad", problem ? t("service.unreachable_why", { problem: sentence(problem) })
              : t("service.unreachable")];
    this.dot.dataset.color = color;
    this.state.textContent = text;
  }

  #updateToggle() {
    const { exposure, name } = this.service;
    const unjoined = !this.relays.length && !exposure?.enabled;
    this.toggle.checked = this.#wanted ?? exposure?.enabled ?? false;
    this.toggle.pending = this.#wanted !== null || isWorking(exposure);
    this.toggle.disabled = unjoined;
    this.toggle.hint = unjoined ? t("service.join_first") : "";
    this.toggle.label = t("service.switch", { name });
  }

  #updateProblems() {
    const status = this.service.exposure?.status;
    const waiting = status?.phase === "waiting";
    this.trust.problem = openTrustNote(this.service);
    this.problem.level = status?.phase === "failed" ? "error" : "warning";
    this.problem.problem = waiting ? null : status?.problem ?? null;
    this.again.hidden = status?.phase !== "failed";
    this.notice.problem = waiting
      ? { message: t("service.waiting"), hint: told(status.problem).message,
        retry_at: status.problem?.retry_at }
      : null;
  }

  #flip(wanted) {
    const { exposure } = this.service;
    const known = this.relays.some(({ id }) => id === exposure?.relay_id);
    if (wanted && !known) {
      openDialog(this, serviceDialogs.expose(this));
      return;
    }
    this.#wanted = wanted;
    this.#ask("setExposure", { fields: { enabled: wanted } });
  }

  async #ask(action, fields) {
    this.refusal.problem = null;
    this.again.disabled = true;
    this.update();
    try {
      await wish(this, action, { id: this.service.id, ...fields });
    } catch (error) {
      this.refusal.problem = error;
    } finally {
      this.#wanted = null;
      this.again.disabled = false;
      this.invalidate();
    }
  }
}

properties(HgService, { service: null, relays: [], taken: new Map(), mqtt: false });
customElements.define("hg-service", HgService);
