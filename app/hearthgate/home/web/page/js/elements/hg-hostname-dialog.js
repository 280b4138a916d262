/**
 * Give an exposure another public address, or tell its service visitors' addresses.
 */

import { h } from "../dom.js";
import { properties } from "../element.js";
import { shownHostname } from "../hostname.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";
import { proxySetting } from "./proxy-setting.js";

class HgHostnameDialog extends HgDialog {
  title() {
    return t("hostname.title", { name: this.service.name });
  }

  content() {
    const { exposure } = this.service;
    this.hostname = h("hg-hostname-field", {
      relays: this.relays,
      taken: this.taken,
      hostname: exposure.hostname,
      shown: shownHostname(exposure),
      relayId: exposure.relay_id,
    });
    const { label, input } = proxySetting(exposure, t("hostname.proxy_hint"));
    this.proxy = input;
    return [
      this.hostname,
      h("p", { class: "secondary" }, t("hostname.old_ends", { hostname: shownHostname(exposure) })),
      label,
    ];
  }

  first() {
    return this.hostname;
  }

  check() {
    if (!this.hostname.mistake()) return true;
    this.hostname.focus();
    return false;
  }

  save() {
    const { id, exposure } = this.service;
    const fields = { enabled: exposure.enabled, ...this.hostname.value };
    if (this.proxy.checked !== Boolean(exposure.proxy_protocol)) {
      fields.proxy_protocol = this.proxy.checked;
    }
    return wish(this, "setExposure", { id, fields });
  }
}

properties(HgHostnameDialog, { service: null, relays: [], taken: new Map() });
customElements.define("hg-hostname-dialog", HgHostnameDialog);
