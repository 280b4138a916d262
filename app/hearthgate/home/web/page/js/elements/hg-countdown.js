/**
 * "Next try in 12 seconds", counting down to a Unix time.
 *
 * Never inside a live region: a screen reader would read every second.
 */

import { everySecond } from "../clock.js";
import { HgElement, properties } from "../element.js";
import { t, until } from "../i18n.js";

class HgCountdown extends HgElement {
  listen(signal) {
    everySecond(() => this.update(), signal);
  }

  update() {
    this.hidden = !this.until;
    if (!this.until) return;
    const over = this.until * 1000 <= Date.now();
    this.textContent = over ? t("countdown.now") : t("countdown.in", { when: until(this.until) });
  }
}

properties(HgCountdown, { until: null });
customElements.define("hg-countdown", HgCountdown);
