/**
 * Say that the page has lost Hearthgate, while it tries again.
 */

import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { icon } from "./hg-icon.js";

class HgConnectionBar extends HgElement {
  build() {
    this.words = h("span", { role: "status" });
    this.button = h("button", { type: "button", class: "button small" }, t("connection.retry"));
    this.bar = h("div", { class: "connection-bar" }, icon("warning"), this.words, this.button);
    this.append(this.bar);
  }

  listen(signal) {
    this.button.addEventListener("click", () => wish(this, "connect"), { signal });
  }

  update() {
    this.bar.dataset.lost = String(this.lost);
    this.button.disabled = !this.lost;
    this.words.textContent = this.lost ? t("connection.lost") : "";
  }
}

properties(HgConnectionBar, { lost: false });
customElements.define("hg-connection-bar", HgConnectionBar);
