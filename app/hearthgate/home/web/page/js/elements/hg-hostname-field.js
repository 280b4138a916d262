/**
 * A label, a domain that a relay granted, and what is wrong with them while typing.
 *
 * `relays` are the joined ones, `hostname` what to begin with, `shown` the same as people
 * read it, `taken` the hostnames that other services have (hostname → name). Dispatches
 * "input" as its fields do; `value` is then { hostname, relay_id }.
 */

import { h, uniqueId } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { grantedDomains, join, mistake, split } from "../hostname.js";
import { t } from "../i18n.js";

class HgHostnameField extends HgElement {
  build() {
    const [id, domainId, errorId] = ["label", "domain", "wrong"].map(uniqueId);
    this.choices = grantedDomains(this.relays);
    const domains = this.choices.map(({ domain }) => domain);
    const begin = split(this.hostname, domains, this.shown || this.hostname);
    this.label = h("input", {
      type: "text", id, value: begin.label || this.suggestion, spellcheck: false,
      autocapitalize: "none", autocomplete: "off", "aria-describedby": errorId,
    });
    this.domain = h("select", { id: domainId }, ...this.choices.map((choice, index) =>
      h("option", { value: String(index) }, this.#describe(choice))));
    this.domain.value = String(Math.max(0, this.#begin(begin.domain)));
    this.wrong = h("p", { class: "field-error", id: errorId, role: "status" });
    this.through = h("p", { class: "secondary" });
    this.append(h("div", { class: "field" },
      h("div", { class: "hostname-fields" },
        h("div", {}, h("label", { htmlFor: id }, t("hostname.label")), this.label),
        h("span", { class: "hostname-dot", "aria-hidden": "true" }, "."),
        h("div", {}, h("label", { htmlFor: domainId }, t("hostname.domain")), this.domain)),
      this.wrong, this.through));
  }

  listen(signal) {
    this.addEventListener("input", () => this.invalidate(), { signal });
  }

  update() {
    const wrong = this.mistake();
    this.wrong.textContent = wrong ?? "";
    this.label.setAttribute("aria-invalid", String(Boolean(wrong)));
    const choice = this.choices[Number(this.domain.value)];
    this.through.hidden = this.relays.length < 2 || !choice;
    if (choice) this.through.textContent = t("hostname.through", { relay: choice.relay.host });
  }

  get value() {
    const choice = this.choices[Number(this.domain.value)];
    if (!choice) return { hostname: "", relay_id: null };
    return {
      hostname: join(this.label.value, choice.domain),
      relay_id: choice.relay.id,
    };
  }

  /** The hostname as people read it. */
  get words() {
    const choice = this.choices[Number(this.domain.value)];
    return choice ? join(this.label.value, choice.shown) : "";
  }

  /** A sentence that says what is wrong, or null. */
  mistake() {
    const choice = this.choices[Number(this.domain.value)];
    if (!choice) return t("hostname.no_domain");
    const key = mistake(this.label.value, choice.domain);
    if (key) return t(key);
    const owner = this.taken.get(this.value.hostname) ?? this.taken.get(this.words);
    return owner ? t("hostname.taken", { name: owner }) : null;
  }

  focus() {
    this.label.focus();
  }

  #begin(domain) {
    const own = this.choices.findIndex((choice) =>
      choice.domain === domain && choice.relay.id === this.relayId);
    return own >= 0 ? own : this.choices.findIndex((choice) => choice.domain === domain);
  }

  /** A domain that several relays grant needs the relay beside it. */
  #describe({ domain, shown, relay }) {
    const alone = this.choices.filter((choice) => choice.domain === domain).length === 1;
    return alone ? shown : `${shown} (${relay.host})`;
  }
}

properties(HgHostnameField, {
  relays: [], hostname: "", shown: "", suggestion: "", relayId: null, taken: new Map(),
});
customElements.define("hg-hostname-field", HgHostnameField);
