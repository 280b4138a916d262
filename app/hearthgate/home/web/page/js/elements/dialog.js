/**
 * What every dialog shares: a native modal <dialog> with a form, and one wish at its end.
 *
 *     openDialog(host, dialog) ─▶ fields ─▶ submit ─▶ save() ─▶ closes
 *                                              └─ an ApiError is shown, it stays open
 *
 * The browser keeps the focus inside and gives it back. The element removes itself when
 * the dialog closes.
 */

import { h, uniqueId } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { t } from "../i18n.js";

export class HgDialog extends HgElement {
  build() {
    const id = uniqueId("title");
    this.problem = h("hg-problem", { alert: true });
    this.submit = h("button", { type: "submit", class: `button ${this.danger ? "danger" : "filled"}` });
    this.cancel = h("button", { type: "button", class: "button" }, t("dialog.cancel"));
    this.heading = h("h2", { id }, this.title());
    this.form = h("form", { class: "dialog-form", noValidate: true },
      this.heading,
      h("div", { class: "dialog-body" }, ...this.content(), this.problem),
      h("div", { class: "dialog-foot" }, this.cancel, this.submit));
    this.dialog = h("dialog", { "aria-labelledby": id }, this.form);
    this.append(this.dialog);
  }

  listen(signal) {
    this.cancel.addEventListener("click", () => this.dialog.close(), { signal });
    this.dialog.addEventListener("close", () => this.remove(), { signal });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    }, { signal });
    this.dialog.showModal();
    this.first()?.focus();
  }

  update() {
    this.submit.textContent = this.busy ? t("dialog.busy") : this.action();
    this.submit.disabled = this.busy;
  }

  /** What the dialog is called. */
  title() {
    return "";
  }

  /** The word on its button. */
  action() {
    return t("dialog.save");
  }

  /** The elements between head and foot. */
  content() {
    return [];
  }

  /** What gets the focus first; the cancel button unless said otherwise. */
  first() {
    return this.cancel;
  }

  /** Focus the first wrong field and return false; true: everything can be sent. */
  check() {
    return true;
  }

  /** Send the wish; an error thrown here is shown and keeps the dialog open. */
  async save() {}

  /** Show an error beside its field and return true; false: it stands below them all. */
  tell(_error) {
    return false;
  }

  /** What follows once the wish is granted. */
  done() {
    this.dialog.close();
  }

  async #save() {
    if (this.busy) return;
    this.problem.problem = null;
    if (!this.check()) {
      this.#reveal();
      return;
    }
    this.busy = true;
    try {
      await this.save();
      this.done();
    } catch (error) {
      if (!this.tell(error)) this.problem.problem = error;
      this.#reveal();
    } finally {
      this.busy = false;
    }
  }

  /** Scroll to what is wrong, which may be below the window or behind the foot. */
  #reveal() {
    requestAnimationFrame(() => {
      const wrong = this.querySelector(".field-error:not(:empty), hg-problem[role=alert]:not([hidden])");
      wrong?.scrollIntoView({ block: "nearest" });
    });
  }
}

properties(HgDialog, { busy: false, danger: false });

/** Show `dialog` inside the app that `host` lives in, so that its wishes are heard. */
export function openDialog(host, dialog) {
  host.closest("hg-app").append(dialog);
  return dialog;
}
