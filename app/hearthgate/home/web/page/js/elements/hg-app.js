/**
 * The whole page: who is here, what the home says, and where wishes go.
 *
 *     api/session ─▶ login or content       live ─▶ store ─▶ properties of the children
 *                                           wish ─▶ api  ─▶ the answer, and the store
 */

import { Api } from "../api.js";
import { h } from "../dom.js";
import { HgElement } from "../element.js";
import { t } from "../i18n.js";
import { Live } from "../live.js";
import { sentence } from "../problems.js";
import { HASS, Store } from "../store.js";
import { followFrame } from "../theme.js";
import { WishEvent } from "../wish.js";
import { icon } from "./hg-icon.js";

class HgApp extends HgElement {
  #api = new Api();
  #store = new Store();
  #live = null;
  #session = null;

  build() {
    this.header = h("hg-header");
    this.bar = h("hg-connection-bar");
    this.announcer = h("hg-announcer");
    this.login = h("hg-login");
    this.loading = h("p", { class: "loading secondary", role: "status" }, t("page.loading"));
    this.forbidden = h("hg-problem");
    this.staging = h("hg-problem", { level: "warning" });
    this.damage = h("hg-problem", { level: "warning" });
    this.problems = h("hg-problems");
    this.first = h("hg-first-run");
    this.relays = h("hg-relays");
    this.services = h("hg-services");
    this.hass = h("hg-hass");
    this.version = h("span");
    this.foot = h("footer", { class: "page-foot" }, this.version,
      h("a", { href: "api/openapi.json", target: "_blank", rel: "noopener" }, t("page.api")));
    this.main = h("main", { class: "page" });
    // Loaded while the home still answers, for the messages that say that it does not.
    const larder = h("span", { class: "visually-hidden", "aria-hidden": "true" },
      ...["warning", "error", "info", "check"].map(icon));
    this.append(this.header, this.bar, this.main, this.foot, this.announcer, larder);
  }

  listen(signal) {
    this.#store.addEventListener("change", () => this.invalidate(), { signal });
    this.addEventListener(WishEvent.NAME, (event) => {
      const grant = this.#wishes[event.action];
      if (grant) event.grant(this.#watched(grant(event.fields)));
    }, { signal });
    followFrame((narrow) => this.toggleAttribute("framed", narrow), signal);
    signal.addEventListener("abort", () => this.#disconnect());
    this.#enter();
  }

  update() {
    const { loaded, connected, home } = this.#store;
    const shut = this.#shut();
    const relays = [...this.#store.relays.values()];
    const services = [...this.#store.services.values()];
    this.header.hidden = shut === "password";
    this.header.session = this.#session;
    this.bar.lost = !shut && (loaded ? !connected : this.#lostEarly);
    this.main.dataset.stale = String(this.bar.lost);
    this.foot.hidden = Boolean(shut) || !loaded;
    this.announcer.services = loaded ? services : null;
    if (loaded) {
      this.version.textContent = `Hearthgate ${home.version}`;
      this.staging.problem = home.acme?.staging
        ? { message: t("page.staging"), hint: t("page.staging_hint") } : null;
      const { damage } = home;
      this.damage.problem = damage
        ? { message: t("page.damage", { ...damage, reason: sentence(damage.reason) }), hint: t("page.damage_hint") } : null;
      this.relays.relays = relays;
      this.problems.problems = home.problems;
      Object.assign(this.services, { services, relays, mqtt: home.mqtt });
      this.hass.hass = this.#store.hass;
    }
    this.forbidden.problem = { message: t("page.forbidden"), hint: t("page.forbidden_hint") };
    this.#show(shut ? [shut === "password" ? this.login : this.forbidden] : loaded
      ? [this.damage, this.staging, this.problems, relays.length ? this.relays : this.first, this.hass,
        this.services]
      : [this.loading]);
  }

  #lostEarly = false;

  #wishes = {
    connect: async () => this.#enter(),
    login: async ({ password }) => {
      await this.#api.login(password);
      await this.#enter();
    },
    logout: async () => {
      await this.#api.logout();
      this.#disconnect();
      await this.#enter();
    },
    changePassword: async (fields) => {
      await this.#api.changePassword(fields);
      await this.#enter(); // the WebSocket came with a cookie that has ended
    },
    pair: ({ code }) => this.#store.settle("relay", null, () => this.#api.pair(code)),
    forgetRelay: ({ id }) => this.#store.settle("relay", id, () => this.#api.forgetRelay(id)),
    reconnect: ({ id }) => this.#api.reconnect(id),
    addService: ({ fields }) =>
      this.#store.settle("service", null, () => this.#api.addService(fields)),
    editService: ({ id, fields }) =>
      this.#store.settle("service", id, () => this.#api.editService(id, fields)),
    removeService: ({ id }) =>
      this.#store.settle("service", id, () => this.#api.removeService(id)),
    setExposure: ({ id, fields }) =>
      this.#store.settle("service", id, () => this.#api.setExposure(id, fields)),
    checkHass: () => this.#store.settle("hass", HASS, () => this.#api.checkHass()),
    trustHass: ({ fields }) =>
      this.#store.settle("hass", HASS, () => this.#api.trustHass(fields)),
    usePublicUrl: () => this.#store.settle("hass", HASS, () => this.#api.usePublicUrl()),
    retry: ({ id }) => this.#store.settle("service", id, () => this.#api.retry(id)),
  };

  /** How one could get in, while one is not; null: one is, or it is not known yet. */
  #shut() {
    return this.#session?.authenticated === false ? this.#session.login : null;
  }

  /** Ask who we are, then connect or show the login. */
  async #enter() {
    try {
      this.#session = await this.#api.session();
      this.#lostEarly = false;
    } catch (error) {
      if (error.status === 403) this.#session = { authenticated: false, login: "none" };
      this.#lostEarly = true; // the WebSocket keeps trying and says when it is back
    }
    if (this.#shut()) {
      this.#disconnect();
    } else if (this.#live) {
      this.#live.retry();
    } else {
      this.#connect();
    }
    this.invalidate();
  }

  #connect() {
    this.#live = new Live();
    this.#live.addEventListener("message", ({ data }) => {
      this.#lostEarly = false;
      this.#store.apply(data);
    });
    this.#live.addEventListener("lost", () => this.#onLost());
    this.#live.start();
  }

  #disconnect() {
    this.#live?.end();
    this.#live = null;
    this.#store.clear();
  }

  /** A closed WebSocket does not say why; an ended session is one reason. */
  async #onLost() {
    this.#store.lost();
    this.#lostEarly = true;
    try {
      this.#session = await this.#api.session();
    } catch {
      return;
    }
    if (this.#shut()) this.#disconnect();
    this.invalidate();
  }

  async #watched(answer) {
    try {
      return await answer;
    } catch (error) {
      const isOut = error.status === 401 && error.code !== "wrong_password";
      if (isOut && this.#live) this.#enter();
      throw error;
    }
  }

  #show(parts) {
    const shown = [...this.main.children];
    if (parts.length === shown.length && parts.every((part, at) => part === shown[at])) return;
    for (const part of shown) if (!parts.includes(part)) part.remove();
    parts.forEach((part, at) => {
      if (this.main.children[at] !== part) this.main.insertBefore(part, this.main.children[at] ?? null);
    });
  }
}

customElements.define("hg-app", HgApp);
