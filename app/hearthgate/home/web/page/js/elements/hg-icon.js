/**
 * `<hg-icon name="copy">`: one of our own drawings, in the colour of the text around it.
 *
 * Decoration only: hidden from screen readers, so the words must stand beside it.
 */

import { HgElement } from "../element.js";
import { h } from "../dom.js";

class HgIcon extends HgElement {
  static observedAttributes = ["name"];

  attributeChangedCallback() {
    this.invalidate();
  }

  build() {
    this.setAttribute("aria-hidden", "true");
  }

  update() {
    const name = this.getAttribute("name");
    if (!/^[a-z0-9]+$/.test(name ?? "")) return;
    const address = new URL(`../../icons/${name}.svg`, import.meta.url);
    this.style.setProperty("--hg-drawing", `url("${address}")`);
  }
}

customElements.define("hg-icon", HgIcon);

export function icon(name) {
  const drawing = h("hg-icon", { "aria-hidden": "true" });
  drawing.setAttribute("name", name);
  return drawing;
}
