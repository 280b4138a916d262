/**
 * Tell screen readers what changed, in one polite live region for the whole page.
 *
 * Compares the services of before and after: a new phase is worth a sentence, a new
 * address or icon is not.
 */

import { HgElement, properties } from "../element.js";
import { t } from "../i18n.js";
import { told } from "../problems.js";

const SENTENCES = {
  checking_dns: "announce.checking_dns",
  ordering: "announce.ordering",
  proving: "announce.proving",
  switching_on: "announce.switching_on",
  live: "announce.live",
  waiting: "announce.waiting",
  failed: "announce.failed",
  off: "announce.off",
};

class HgAnnouncer extends HgElement {
  #phases = null;

  build() {
    this.className = "visually-hidden";
    this.setAttribute("role", "status");
    this.setAttribute("aria-live", "polite");
  }

  update() {
    if (!this.services) {
      this.#phases = null;
      return;
    }
    const before = this.#phases;
    this.#phases = new Map(this.services.map((service) =>
      [service.id, service.exposure?.status.phase ?? "off"]));
    if (!before) return;
    const news = this.services
      .filter(({ id }) => before.has(id) && before.get(id) !== this.#phases.get(id))
      .map((service) => this.#sentence(service))
      .filter(Boolean);
    if (news.length) this.textContent = news.join(" ");
  }

  #sentence({ id, name, exposure }) {
    const key = SENTENCES[this.#phases.get(id)];
    return key && t(key, { name, reason: told(exposure?.status.problem).message }).trim();
  }
}

properties(HgAnnouncer, { services: null });
customElements.define("hg-announcer", HgAnnouncer);
