/**
 * Change who may open an exposure: another name and password, or none.
 */

import { h } from "../dom.js";
import { properties } from "../element.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";

class HgAccessDialog extends HgDialog {
  title() {
    return t("access.title", { name: this.service.name });
  }

  action() {
    return this.#opensToAll() ? t("access.remove") : t("dialog.save");
  }

  content() {
    this.access = h("hg-access-fields", { access: this.service.exposure.access });
    this.warning = h("hg-problem", { level: "warning" });
    return [this.access, this.warning];
  }

  first() {
    return this.access.wanted;
  }

  listen(signal) {
    super.listen(signal);
    this.addEventListener("change", () => this.invalidate(), { signal });
  }

  update() {
    super.update();
    const { name, exposure } = this.service;
    this.submit.classList.toggle("danger", this.#opensToAll());
    this.submit.classList.toggle("filled", !this.#opensToAll());
    this.warning.problem = this.#opensToAll()
      ? { message: t("access.remove_warning", { name, url: exposure.url }) }
      : null;
  }

  check() {
    return this.access.check();
  }

  save() {
    const { id, exposure } = this.service;
    const fields = { enabled: exposure.enabled, access: this.access.value };
    return wish(this, "setExposure", { id, fields });
  }

  #opensToAll() {
    return Boolean(this.service.exposure.access) && !this.access.value;
  }
}

properties(HgAccessDialog, { service: null });
customElements.define("hg-access-dialog", HgAccessDialog);
