/**
 * Name protocols to which a service may switch a connection, beside WebSocket.
 *
 * Rarely needed, so it is a list to type: names between blanks or commas.
 */

import { h, uniqueId } from "../dom.js";
import { properties } from "../element.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";

class HgProtocolsDialog extends HgDialog {
  title() {
    return t("protocols.title", { name: this.service.name });
  }

  action() {
    return t("dialog.save");
  }

  content() {
    const namesId = uniqueId("protocols");
    this.names = h("input", {
      type: "text", id: namesId, maxLength: 512, spellcheck: false, autocapitalize: "none",
      autocomplete: "off", placeholder: "tailscale-control-protocol",
      value: (this.service.exposure.protocols ?? []).join(", "),
      "aria-describedby": `${namesId}-hint`,
    });
    return [
      h("div", { class: "field" }, h("label", { htmlFor: namesId }, t("protocols.names")), this.names,
        h("p", { class: "secondary", id: `${namesId}-hint` }, t("protocols.hint"))),
    ];
  }

  first() {
    return this.names;
  }

  save() {
    const { id, exposure } = this.service;
    const protocols = this.names.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    return wish(this, "setExposure", { id, fields: { enabled: exposure.enabled, protocols } });
  }
}

properties(HgProtocolsDialog, { service: null });
customElements.define("hg-protocols-dialog", HgProtocolsDialog);
