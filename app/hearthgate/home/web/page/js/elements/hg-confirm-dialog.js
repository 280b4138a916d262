/**
 * Ask before something is lost. `run` is awaited; its error keeps the dialog open.
 */

import { h } from "../dom.js";
import { properties } from "../element.js";
import { HgDialog } from "./dialog.js";

class HgConfirmDialog extends HgDialog {
  title() {
    return this.question;
  }

  action() {
    return this.verb;
  }

  content() {
    return [h("p", {}, this.consequence)];
  }

  save() {
    return this.run();
  }
}

properties(HgConfirmDialog, { question: "", consequence: "", verb: "", run: null });
customElements.define("hg-confirm-dialog", HgConfirmDialog);
