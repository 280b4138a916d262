/**
 * Let Home Assistant switch an exposure on and off, or take that from it.
 *
 * It repeats what was decided here: with the same address and the same access.
 */

import { h, uniqueId } from "../dom.js";
import { properties } from "../element.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";

class HgSwitchDialog extends HgDialog {
  title() {
    return t("switch.title", { name: this.service.name });
  }

  content() {
    const { exposure } = this.service;
    const id = uniqueId("switch");
    this.wanted = h("input", {
      type: "checkbox", role: "switch", id, checked: exposure.hass_may_switch,
      "aria-describedby": `${id}-hint`,
    });
    this.notice = h("hg-problem", { level: "info" });
    return [
      h("label", { class: "setting", htmlFor: id },
        h("span", { class: "setting-text" }, h("span", {}, t("switch.offer")),
          h("span", { class: "secondary", id: `${id}-hint` }, t("switch.hint"))),
        h("span", { class: "switch" }, this.wanted, h("span", { class: "switch-track" }))),
      h("p", { class: "secondary" }, t("switch.who")),
      this.notice,
    ];
  }

  first() {
    return this.wanted;
  }

  listen(signal) {
    super.listen(signal);
    this.addEventListener("change", () => this.invalidate(), { signal });
  }

  update() {
    super.update();
    const { name, exposure } = this.service;
    const waits = this.wanted.checked && !exposure.was_public;
    this.notice.problem = waits ? { message: t("switch.first", { name }) } : null;
  }

  save() {
    const { id, exposure } = this.service;
    const fields = { enabled: exposure.enabled, hass_may_switch: this.wanted.checked };
    return wish(this, "setExposure", { id, fields });
  }
}

properties(HgSwitchDialog, { service: null });
customElements.define("hg-switch-dialog", HgSwitchDialog);
