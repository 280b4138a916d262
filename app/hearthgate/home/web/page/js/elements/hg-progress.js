/**
 * The steps of putting a service on the Internet: done, current, left.
 */

import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { STEPS, stepOf } from "../phases.js";
import { icon } from "./hg-icon.js";

class HgProgress extends HgElement {
  build() {
    this.steps = STEPS.map(({ text }) => {
      const word = h("span", { class: "step-word" });
      const item = h("li", { class: "step" }, icon("check"), h("span", { class: "step-text" }, t(text)), word);
      return { item, word };
    });
    this.count = h("p", { class: "step-count" });
    this.append(h("ol", { class: "steps" }, ...this.steps.map(({ item }) => item)), this.count);
  }

  update() {
    const current = stepOf(this.exposure);
    this.hidden = current < 0;
    if (current < 0) return;
    this.steps.forEach(({ item, word }, index) => {
      const state = index < current ? "done" : index === current ? "current" : "left";
      item.dataset.state = state;
      word.textContent = { done: t("step.done"), current: "", left: t("step.left") }[state];
      if (state === "current") item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
    this.count.textContent = t("step.count", { step: current + 1, steps: STEPS.length });
  }
}

properties(HgProgress, { exposure: null });
customElements.define("hg-progress", HgProgress);
