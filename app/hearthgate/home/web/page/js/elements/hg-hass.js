/**
 * Home Assistant itself: why it turns visitors away, and the click that mends it.
 *
 *     refused ─▶ what would change ─▶ wish ─▶ restarting ─▶ verifying ─▶ accepted
 *        └─ an old version: the lines for its settings file, and "check again"
 *
 * Hidden while there is nothing to say. Home Assistant restarts meanwhile, and this page
 * with it: what comes of it is in the state that the page reads when it is back.
 */

import { h } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";

const BUSY = { restarting: "hass.restarting", verifying: "hass.verifying" };
const WAYS = { api: "hass.by_api", yaml: "hass.by_yaml" };
const LOGIN_ATTEMPTS = 5; // what we recommend: enough for typing errors

class HgHass extends HgElement {
  build() {
    this.notice = h("hg-problem", { level: "warning" });
    this.changes = h("dl", { class: "hass-changes" });
    this.yaml = h("pre", { class: "hass-yaml", tabIndex: 0, dir: "ltr" });
    this.copy = h("hg-copy-button", { label: t("hass.copy") });
    this.limit = h("input", { type: "checkbox", checked: true });
    this.limitLine = h("label", { class: "hass-limit" }, this.limit,
      h("span", {}, t("hass.limit", { count: LOGIN_ATTEMPTS })));
    this.trust = h("button", { type: "button", class: "button filled" }, t("hass.trust"));
    this.check = h("button", { type: "button", class: "button" }, t("hass.check"));
    this.address = h("p", { class: "secondary" });
    this.use = h("button", { type: "button", class: "button small" }, t("hass.use_url"));
    this.addressLine = h("div", { class: "hass-foot" }, this.address, this.use);
    this.advice = h("p", { class: "secondary" }, t("hass.limit_advice"));
    this.problem = h("hg-problem", { alert: true });
    this.card = h("section", { class: "card hass", "aria-label": "Home Assistant" },
      h("h2", {}, "Home Assistant"), this.notice, this.changes, this.yaml, this.limitLine,
      h("div", { class: "hass-foot" }, this.copy, this.check, this.trust),
      this.addressLine, this.advice, this.problem);
    this.append(this.card);
  }

  listen(signal) {
    this.trust.addEventListener("click", () => this.#ask("trustHass", {
      fields: this.#offersLimit() && this.limit.checked
        ? { login_attempts: LOGIN_ATTEMPTS } : {},
    }), { signal });
    this.check.addEventListener("click", () => this.#ask("checkHass"), { signal });
    this.use.addEventListener("click", () => this.#ask("usePublicUrl"), { signal });
  }

  update() {
    const { hass } = this;
    const trust = hass?.trust;
    const refused = trust?.state === "refused";
    const busy = Object.hasOwn(BUSY, trust?.state ?? "");
    const other = Boolean(hass?.public_url) && trust?.state === "accepted"
      && hass.external_url !== hass.public_url.replace(/\/$/, "");
    const open = trust?.state === "accepted" && trust.by === "api"
      && Boolean(hass.public_url) && trust.login_attempts < 1;
    this.hidden = !(refused || busy || other || open);
    if (this.hidden) return;
    this.notice.level = busy ? "info" : "warning";
    this.notice.problem = busy
      ? { message: t(BUSY[trust.state]), hint: t("hass.busy_hint") }
      : refused ? { message: t("hass.refused"), hint: t(WAYS[trust.by] ?? WAYS.api) } : null;
    this.changes.hidden = !refused || trust.by !== "api";
    this.changes.replaceChildren(...(trust.changes ?? []).flatMap(({ name, before, after }) => [
      h("dt", {}, name), h("dd", {}, before ? `${before} → ${after}` : after)]));
    this.yaml.hidden = this.copy.hidden = !refused || !trust.yaml;
    this.yaml.textContent = trust.yaml ?? "";
    this.copy.text = trust.yaml ?? "";
    this.limitLine.hidden = !refused || !this.#offersLimit();
    this.trust.hidden = !refused || trust.by !== "api";
    this.check.hidden = !refused;
    this.addressLine.hidden = !other;
    this.address.textContent = other ? t("hass.url", { url: hass.public_url }) : "";
    this.advice.hidden = !open;
    this.problem.problem = this.refusal ?? trust.problem;
  }

  #offersLimit() {
    const { by, login_attempts: attempts } = this.hass.trust;
    return by === "api" && attempts !== null && attempts < 1;
  }

  async #ask(action, fields = {}) {
    const buttons = [this.trust, this.check, this.use];
    this.refusal = null;
    for (const button of buttons) button.disabled = true;
    try {
      await wish(this, action, fields);
    } catch (error) {
      this.refusal = error;
    } finally {
      for (const button of buttons) button.disabled = false;
      this.invalidate();
    }
  }
}

properties(HgHass, { hass: null, refusal: null });
customElements.define("hg-hass", HgHass);
