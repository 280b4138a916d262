/**
 * Add a service by hand, or edit one that was: a name and an address.
 *
 * An address may be bare, `192.168.1.20:3000`, or a URL; the home decides what it means
 * and finds out about https.
 */

import { h, uniqueId } from "../dom.js";
import { properties } from "../element.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";

class HgServiceDialog extends HgDialog {
  title() {
    return this.service ? t("service.edit_title", { name: this.service.name }) : t("service.add");
  }

  action() {
    return this.service ? t("dialog.save") : t("service.add_submit");
  }

  content() {
    const [nameId, urlId, errorId] = ["name", "address", "wrong"].map(uniqueId);
    this.name = h("input", {
      type: "text", id: nameId, maxLength: 64, autocomplete: "off",
      value: this.service?.name ?? "", placeholder: t("service.name_example"),
    });
    this.url = h("input", {
      type: "text", id: urlId, inputMode: "url", spellcheck: false, autocapitalize: "none",
      autocomplete: "off", placeholder: "192.168.1.20:3000",
      value: this.service?.url ?? "", "aria-describedby": `${urlId}-hint`,
    });
    this.wrong = h("p", { class: "field-error", id: errorId, role: "alert" });
    return [
      h("div", { class: "field" }, h("label", { htmlFor: nameId }, t("service.name")), this.name),
      h("div", { class: "field" }, h("label", { htmlFor: urlId }, t("service.address")), this.url,
        h("p", { class: "secondary", id: `${urlId}-hint` }, t("service.address_hint"))),
      this.wrong,
    ];
  }

  first() {
    return this.name;
  }

  check() {
    const missing = [this.name, this.url].find((field) => !field.value.trim());
    this.wrong.textContent = missing ? t("service.missing") : "";
    missing?.focus();
    return !missing;
  }

  save() {
    const fields = { name: this.name.value.trim(), url: this.url.value.trim() };
    if (!this.service) return wish(this, "addService", { fields });
    return wish(this, "editService", { id: this.service.id, fields });
  }
}

properties(HgServiceDialog, { service: null });
customElements.define("hg-service-dialog", HgServiceDialog);
