/**
 * Ask for the page's password.
 */

import { HgElement } from "../element.js";
import { h, uniqueId } from "../dom.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";

class HgLogin extends HgElement {
  build() {
    const id = uniqueId("password");
    this.password = h("input", {
      type: "password", id, name: "password", required: true, autocomplete: "current-password",
    });
    this.problem = h("hg-problem", { alert: true });
    this.button = h("button", { type: "submit", class: "button filled wide" }, t("login.submit"));
    this.form = h("form", { class: "card login-card", noValidate: true },
      h("img", { src: "icon.svg", alt: "", width: 56, height: 56 }),
      h("h1", {}, "Hearthgate"),
      h("p", { class: "secondary" }, t("login.lead")),
      // A name that nobody sees: password managers file the password under it.
      h("input", { type: "text", name: "username", value: "hearthgate", hidden: true,
        readOnly: true, autocomplete: "username" }),
      h("div", { class: "field" }, h("label", { htmlFor: id }, t("login.password")), this.password),
      this.problem,
      this.button);
    this.append(h("main", { class: "login" }, this.form));
  }

  listen(signal) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#login();
    }, { signal });
    this.password.focus();
  }

  async #login() {
    if (!this.password.value) {
      this.problem.problem = { message: t("login.empty") };
      this.password.focus();
      return;
    }
    this.button.disabled = true;
    this.problem.problem = null;
    try {
      await wish(this, "login", { password: this.password.value });
    } catch (error) {
      this.problem.problem = error;
      this.password.select();
    } finally {
      this.button.disabled = false;
    }
  }
}

customElements.define("hg-login", HgLogin);
