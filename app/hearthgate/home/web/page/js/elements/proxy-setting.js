/**
 * The setting that tells a service its visitors' addresses, for dialogs that offer it.
 */

import { h, uniqueId } from "../dom.js";
import { t } from "../i18n.js";

/** Return the label to show and the input in it; `hint` says what is meant. */
export function proxySetting(exposure, hint) {
  const id = uniqueId("proxy");
  const input = h("input", {
    type: "checkbox", role: "switch", id, checked: Boolean(exposure?.proxy_protocol),
  });
  const label = h("label", { class: "setting", htmlFor: id },
    h("span", { class: "setting-text" }, h("span", {}, t("forward.proxy")),
      h("span", { class: "secondary" }, hint)),
    h("span", { class: "switch" }, input, h("span", { class: "switch-track" })));
  return { label, input };
}
