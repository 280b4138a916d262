/**
 * Join one more relay.
 */

import { h, uniqueId } from "../dom.js";
import { HgElement } from "../element.js";
import { t } from "../i18n.js";
import { codeSources } from "./hg-first-run.js";

class HgPairDialog extends HgElement {
  build() {
    const id = uniqueId("title");
    this.form = h("hg-pair-form");
    this.cancel = h("button", { type: "button", class: "button" }, t("dialog.cancel"));
    this.dialog = h("dialog", { "aria-labelledby": id },
      h("h2", { id }, t("relays.add")),
      h("div", { class: "dialog-body" },
        h("p", { class: "secondary" }, t("first.where")), codeSources(), this.form));
    this.append(this.dialog);
  }

  listen(signal) {
    this.dialog.addEventListener("close", () => this.remove(), { signal });
    this.cancel.addEventListener("click", () => this.dialog.close(), { signal });
    this.addEventListener("hg-paired", () => this.dialog.close(), { signal });
    this.dialog.showModal();
    this.form.querySelector(".form-foot").prepend(this.cancel);
    this.form.focus();
  }
}

customElements.define("hg-pair-dialog", HgPairDialog);
