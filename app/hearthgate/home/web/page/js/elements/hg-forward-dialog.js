/**
 * Put a service that is no web page on the Internet by a port of the relay, or give it
 * another port.
 */

import { h, uniqueId } from "../dom.js";
import { properties } from "../element.js";
import { t } from "../i18n.js";
import { trustNote } from "../local-trust.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";
import { icon } from "./hg-icon.js";
import { proxySetting } from "./proxy-setting.js";

class HgForwardDialog extends HgDialog {
  title() {
    return t("forward.title", { name: this.service.name });
  }

  action() {
    return this.service.exposure?.enabled ? t("dialog.save") : t("expose.submit");
  }

  content() {
    const { service } = this;
    const { exposure, scheme } = service;
    const [portId, errorId] = ["port", "wrong"].map(uniqueId);
    this.port = h("input", {
      type: "text", id: portId, inputMode: "numeric", autocomplete: "off", maxLength: 5,
      value: String(exposure?.public_port ?? service.suggested_port ?? ""),
      "aria-describedby": `${portId}-hint ${errorId}`,
    });
    this.wrong = h("p", { class: "field-error", id: errorId, role: "alert" });
    const { label, input } = proxySetting(exposure, t("forward.proxy_hint"));
    this.proxy = input;
    label.hidden = scheme !== "tcp";
    return [
      h("p", { class: "plain-warning" }, icon("web"),
        h("span", {}, t("forward.sentence", { name: service.name }))),
      h("hg-problem", { level: "warning", problem: trustNote(service) }),
      h("div", { class: "field" }, h("label", { htmlFor: portId }, t("forward.port")), this.port,
        h("p", { class: "secondary", id: `${portId}-hint` }, ...this.#granted())),
      label,
      this.wrong,
    ];
  }

  first() {
    return this.port;
  }

  check() {
    const port = Number(this.port.value);
    const fits = /^[0-9]{1,5}$/.test(this.port.value.trim()) && port >= 1 && port <= 65535;
    this.wrong.textContent = fits ? "" : t("forward.wrong");
    if (!fits) this.port.focus();
    return fits;
  }

  /** Which ports the relay lets the home use, or how its owner gives it some. */
  #granted() {
    const { scheme } = this.service;
    const protocol = scheme.toUpperCase();
    const ports = this.relays.flatMap((relay) => relay.ports?.[scheme] ?? []);
    if (ports.length) return [t("forward.granted", { protocol, ports: ports.join(", ") })];
    const home = this.relays[0]?.name ?? "home";
    return [t("forward.none", { protocol }), " ",
      h("code", {}, `hearthgate relay grant ${home} --${scheme} 20000-20009`)];
  }

  save() {
    const { id, exposure, scheme } = this.service;
    const fields = { enabled: exposure ? exposure.enabled || !this.keeps : true };
    fields.public_port = Number(this.port.value);
    if (scheme === "tcp") fields.proxy_protocol = this.proxy.checked;
    return wish(this, "setExposure", { id, fields });
  }
}

properties(HgForwardDialog, { service: null, relays: [], keeps: false });
customElements.define("hg-forward-dialog", HgForwardDialog);
