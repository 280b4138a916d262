/**
 * A switch that never says more than the home has confirmed.
 *
 *     the user flips it ─▶ "hg-flip" with `wanted` ─▶ the owner asks the home
 *
 * `checked` is what is true or wanted, `pending` that it is not yet confirmed. It returns
 * to `checked` by itself after each flip; moving it is the owner's decision.
 */

import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";

export class FlipEvent extends Event {
  static NAME = "hg-flip";

  constructor(wanted) {
    super(FlipEvent.NAME, { bubbles: true });
    this.wanted = wanted;
  }
}

class HgToggle extends HgElement {
  build() {
    this.input = h("input", { type: "checkbox", role: "switch" });
    this.append(h("label", { class: "switch" }, this.input, h("span", { class: "switch-track" })));
  }

  listen(signal) {
    this.input.addEventListener("change", () => {
      const wanted = this.input.checked;
      this.input.checked = this.checked;
      this.dispatchEvent(new FlipEvent(wanted));
    }, { signal });
  }

  update() {
    this.input.checked = this.checked;
    this.input.disabled = this.disabled;
    this.input.setAttribute("aria-label", this.label);
    this.input.setAttribute("aria-busy", String(this.pending));
    this.title = this.hint;
    this.dataset.pending = String(this.pending);
  }

  focus() {
    this.input.focus();
  }
}

properties(HgToggle, { checked: false, pending: false, disabled: false, label: "", hint: "" });
customElements.define("hg-toggle", HgToggle);
