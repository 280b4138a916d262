/**
 * Change the password of the page: the current one, the new one, and what came of it.
 *
 *     fields ─▶ save() ─▶ done, with what that means for other browsers
 *                 └─ a refusal stands beside the field that it is about
 *
 * `changeable` is false where the password comes from the settings: then it says so.
 */

import { h, uniqueId } from "../dom.js";
import { properties } from "../element.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";
import { icon } from "./hg-icon.js";

const PASSWORD_MIN = 8;

class HgPasswordDialog extends HgDialog {
  title() {
    return t("password.title");
  }

  action() {
    return t("password.submit");
  }

  content() {
    const id = uniqueId("told");
    this.current = field("password.current", { autocomplete: "current-password" });
    this.fresh = field("password.new", { autocomplete: "new-password" }, t("password.hint"));
    this.eye = h("button", { type: "button", class: "icon-button", title: t("access.show"),
      "aria-label": t("access.show"), "aria-pressed": "false" }, icon("eye"));
    this.fresh.line.append(this.eye);
    // A name that nobody sees: password managers file the password under it.
    const name = h("input", { type: "text", name: "username", value: "hearthgate", hidden: true,
      readOnly: true, autocomplete: "username" });
    this.fields = [name, this.current.box, this.fresh.box];
    this.told = h("p", { id, role: "status" });
    this.cancel.setAttribute("aria-describedby", id);
    return [...this.fields, this.told];
  }

  first() {
    return this.changeable ? this.current.input : this.cancel;
  }

  listen(signal) {
    super.listen(signal);
    this.eye.addEventListener("click", () => this.#show(this.fresh.input.type === "password"), { signal });
    for (const one of [this.current, this.fresh])
      one.input.addEventListener("input", () => complain(one, ""), { signal });
  }

  update() {
    super.update();
    const over = this.changed || !this.changeable;
    this.current.box.hidden = this.fresh.box.hidden = this.submit.hidden = over;
    this.cancel.textContent = over ? t("dialog.close") : t("dialog.cancel");
    this.told.hidden = !over;
    this.told.textContent = this.changed ? t("password.done")
      : this.changeable ? "" : t("password.settings");
  }

  check() {
    this.#show(false);
    complain(this.current, this.current.input.value ? "" : t("password.no_current"));
    complain(this.fresh, this.fresh.input.value.length < PASSWORD_MIN ? t("access.short") : "");
    const wrong = [this.current, this.fresh].find(({ error }) => error.textContent);
    wrong?.input.focus();
    return !wrong;
  }

  save() {
    const { current, fresh } = this;
    return wish(this, "changePassword",
      { current: current.input.value, password: fresh.input.value });
  }

  tell({ code, fields }) {
    const texts = {
      wrong_password: () => [this.current, t("password.wrong")],
      too_many_logins: () => [this.current, t("password.slow", { count: Number(fields.seconds) })],
      weak_password: () => [this.fresh, t("access.short")],
    };
    if (code === "password_in_settings") this.changeable = false;
    else if (!texts[code]) return false;
    else {
      const [place, text] = texts[code]();
      complain(place, text);
      place.input.focus();
      place.input.select();
    }
    return true;
  }

  done() {
    this.current.input.value = this.fresh.input.value = "";
    this.changed = true;
    this.cancel.focus();
  }

  #show(shown) {
    this.fresh.input.type = shown ? "text" : "password";
    this.eye.setAttribute("aria-pressed", String(shown));
  }
}

function field(label, attributes, hint) {
  const id = uniqueId("password");
  const input = h("input", { type: "password", id, required: true, maxLength: 1024,
    spellcheck: false, "aria-describedby": hint ? `${id}-hint ${id}-error` : `${id}-error`,
    ...attributes });
  const line = h("div", { class: "password-line" }, input);
  const error = h("p", { class: "field-error", id: `${id}-error`, role: "alert" });
  const box = h("div", { class: "field" }, h("label", { htmlFor: id }, t(label)), line,
    hint && h("p", { class: "secondary", id: `${id}-hint` }, hint), error);
  return { box, line, input, error };
}

function complain({ input, error }, text) {
  error.textContent = text;
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

properties(HgPasswordDialog, { changeable: true, changed: false });
customElements.define("hg-password-dialog", HgPasswordDialog);
