/**
 * A button that copies `text` and says whether it did.
 */

import { copyText } from "../clipboard.js";
import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "./hg-icon.js";

const SHOWN_MS = 2000;

class HgCopyButton extends HgElement {
  #timer = 0;

  build() {
    this.sign = icon("copy");
    this.word = h("span", { role: "status", class: "copy-word" });
    this.button = h("button", { type: "button", class: "icon-button" }, this.sign);
    this.append(this.button, this.word);
  }

  listen(signal) {
    this.button.addEventListener("click", () => this.#copy(), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  update() {
    this.button.setAttribute("aria-label", this.label);
    this.button.title = this.label;
  }

  async #copy() {
    const copied = await copyText(this.text);
    this.sign.setAttribute("name", copied ? "check" : "error");
    this.word.textContent = copied ? t("copy.done") : t("copy.failed");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.sign.setAttribute("name", "copy");
      this.word.textContent = "";
    }, SHOWN_MS);
  }
}

properties(HgCopyButton, { text: "", label: "" });
customElements.define("hg-copy-button", HgCopyButton);
