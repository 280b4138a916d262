/**
 * A name and a password in front of a service: ask for one or not, and make a strong one.
 *
 * `access` is what there is now ({ username } or null). `value` is null without protection.
 * The home keeps only a hash, so a password can be seen here and never again.
 */

import { h, uniqueId } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { t } from "../i18n.js";
import { strongPassword } from "../password.js";
import { icon } from "./hg-icon.js";

const PASSWORD_MIN = 8;

class HgAccessFields extends HgElement {
  build() {
    const [wantedId, nameId, passwordId, errorId] = ["wanted", "name", "password", "wrong"].map(uniqueId);
    this.wanted = h("input", { type: "checkbox", role: "switch", id: wantedId, checked: Boolean(this.access) });
    this.username = h("input", {
      type: "text", id: nameId, maxLength: 64, value: this.access?.username ?? "", spellcheck: false,
      autocapitalize: "none", autocomplete: "off",
    });
    this.password = h("input", {
      type: "password", id: passwordId, maxLength: 128, autocomplete: "new-password", spellcheck: false,
      "aria-describedby": errorId,
    });
    this.eye = h("button", { type: "button", class: "icon-button" }, icon("eye"));
    this.strong = h("button", { type: "button", class: "button small" }, icon("dice"), t("access.strong"));
    this.copy = h("hg-copy-button", { label: t("access.copy") });
    this.wrong = h("p", { class: "field-error", id: errorId, role: "alert" });
    this.fields = h("div", { class: "access-fields" },
      h("div", { class: "field" }, h("label", { htmlFor: nameId }, t("access.username")), this.username),
      h("div", { class: "field" }, h("label", { htmlFor: passwordId }, t("access.password")),
        h("div", { class: "password-line" }, this.password, this.eye, this.copy)),
      h("div", { class: "access-help" }, this.strong,
        h("p", { class: "secondary" }, t("access.once"))));
    this.append(
      h("label", { class: "setting", htmlFor: wantedId },
        h("span", { class: "setting-text" }, h("span", {}, t("access.offer")),
          h("span", { class: "secondary" }, t("access.offer_hint"))),
        h("span", { class: "switch" }, this.wanted, h("span", { class: "switch-track" }))),
      this.fields, this.wrong);
  }

  listen(signal) {
    this.addEventListener("input", () => {
      this.wrong.textContent = "";
      this.invalidate();
    }, { signal });
    this.wanted.addEventListener("change", () => {
      this.invalidate();
      if (this.wanted.checked) queueMicrotask(() => this.username.focus());
    }, { signal });
    this.eye.addEventListener("click", () => this.#show(this.password.type === "password"), { signal });
    this.strong.addEventListener("click", () => {
      this.password.value = strongPassword();
      this.#show(true);
      this.wrong.textContent = "";
    }, { signal });
  }

  update() {
    this.fields.hidden = !this.wanted.checked;
    this.copy.text = this.password.value;
    this.copy.hidden = !this.password.value;
    const shown = this.password.type === "text";
    this.eye.setAttribute("aria-pressed", String(shown));
    this.eye.setAttribute("aria-label", t("access.show"));
    this.eye.title = t("access.show");
  }

  get value() {
    if (!this.wanted.checked) return null;
    return { username: this.username.value.trim(), password: this.password.value };
  }

  /** Say what is missing and focus it; true: nothing is. */
  check() {
    const { value } = this;
    const found = value && this.#mistake(value);
    this.wrong.textContent = found ? t(found.text) : "";
    found?.field.focus();
    return !found;
  }

  #mistake({ username, password }) {
    if (!username) return { field: this.username, text: "access.no_username" };
    if (username.includes(":")) return { field: this.username, text: "access.colon" };
    if (password.length < PASSWORD_MIN) return { field: this.password, text: "access.short" };
    return null;
  }

  #show(shown) {
    this.password.type = shown ? "text" : "password";
    this.invalidate();
  }
}

properties(HgAccessFields, { access: null });
customElements.define("hg-access-fields", HgAccessFields);
