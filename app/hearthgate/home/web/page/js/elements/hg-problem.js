/**
 * What went wrong, why, and what to do about it.
 *
 * `problem` is an ApiError or a Problem of the home; null hides the element. `level` is
 * "error", "warning" or "info". Children given by the owner with `actions` stand below.
 */

import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";
import { told } from "../problems.js";
import { icon } from "./hg-icon.js";

class HgProblem extends HgElement {
  build() {
    this.sign = icon("error");
    this.message = h("p", { class: "problem-message" });
    this.hint = h("p", { class: "problem-hint" });
    this.countdown = h("hg-countdown");
    this.foot = h("div", { class: "problem-foot" }, this.countdown, ...this.actions);
    this.append(this.sign, h("div", { class: "problem-text" }, this.message, this.hint, this.foot));
  }

  update() {
    this.hidden = !this.problem;
    const { message, hint } = told(this.problem);
    const retryAt = this.problem?.retry_at;
    this.dataset.level = this.level;
    this.sign.setAttribute("name", this.level);
    if (this.alert) this.setAttribute("role", "alert");
    this.message.textContent = message;
    this.hint.textContent = hint;
    this.hint.hidden = !hint;
    this.countdown.until = retryAt ?? null;
    this.foot.hidden = !retryAt && !this.actions.length;
  }
}

properties(HgProblem, { problem: null, level: "error", actions: [], alert: false });
customElements.define("hg-problem", HgProblem);
