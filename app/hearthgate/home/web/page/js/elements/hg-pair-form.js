/**
 * One field for a pairing code, and what the home says about it.
 *
 * A code copied from a terminal may be broken over lines, so white space is dropped.
 * Dispatches "hg-paired" once the relay has taken the home in.
 */

import { HgElement } from "../element.js";
import { h, uniqueId } from "../dom.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";

class HgPairForm extends HgElement {
  build() {
    const id = uniqueId("code");
    this.code = h("textarea", {
      id, rows: 2, spellcheck: false, autocapitalize: "none", autocomplete: "off",
      placeholder: t("pair.placeholder"), class: "code-field",
    });
    this.problem = h("hg-problem", { alert: true });
    this.button = h("button", { type: "submit", class: "button filled" }, t("pair.submit"));
    this.form = h("form", { class: "pair-form", noValidate: true },
      h("div", { class: "field" }, h("label", { htmlFor: id }, t("pair.code")), this.code),
      this.problem,
      h("div", { class: "form-foot" }, this.button));
    this.append(this.form);
  }

  listen(signal) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#join();
    }, { signal });
    this.code.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // one line by meaning, so Enter joins
      this.form.requestSubmit();
    }, { signal });
  }

  focus() {
    this.code.focus();
  }

  async #join() {
    const code = this.code.value.replace(/\s+/g, "");
    if (!code) {
      this.#fail({ message: t("pair.empty") });
      return;
    }
    this.#busy(true);
    try {
      await wish(this, "pair", { code });
      this.code.value = "";
      this.dispatchEvent(new Event("hg-paired", { bubbles: true }));
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#busy(false);
    }
  }

  #fail(problem) {
    this.problem.problem = problem;
    this.code.setAttribute("aria-invalid", "true");
    this.code.focus();
  }

  #busy(busy) {
    if (busy) {
      this.problem.problem = null;
      this.code.removeAttribute("aria-invalid");
    }
    this.button.disabled = busy;
    this.button.textContent = busy ? t("pair.joining") : t("pair.submit");
  }
}

customElements.define("hg-pair-form", HgPairForm);
