/**
 * Everything that could be on the Internet, and what already is.
 *
 * Rows do not jump under a hand: while the pointer or the focus is on the list, only new
 * and lost services change it; the order is made again afterwards.
 */

import { h, reconcile } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { shownHostname } from "../hostname.js";
import { t } from "../i18n.js";
import { FILTER_FROM, inOrder, matches } from "../order.js";
import { isLive } from "../phases.js";
import { openDialog } from "./dialog.js";
import { icon } from "./hg-icon.js";

class HgServices extends HgElement {
  #order = []; // ids as shown last

  build() {
    this.summary = h("p", { class: "secondary" });
    this.add = h("button", { type: "button", class: "button" }, icon("plus"), t("service.add"));
    this.filter = h("input", {
      type: "search", "aria-label": t("services.filter"), placeholder: t("services.filter"),
    });
    this.filterLine = h("div", { class: "filter-line", hidden: true }, icon("search"), this.filter);
    this.rows = h("div", { class: "rows" });
    this.empty = h("div", { class: "empty" }, h("span", { class: "radar" }, icon("sensor")),
      h("p", {}, t("services.looking")), h("p", { class: "secondary" }, t("services.looking_hint")));
    this.none = h("p", { class: "empty secondary", role: "status" });
    this.append(h("section", { class: "card" },
      h("div", { class: "card-head" },
        h("div", {}, h("h2", {}, t("services.title")), this.summary), this.add),
      this.filterLine, this.rows, this.empty, this.none));
  }

  listen(signal) {
    this.add.addEventListener("click", () => openDialog(this, h("hg-service-dialog")), { signal });
    this.filter.addEventListener("input", () => this.invalidate(), { signal });
    this.rows.addEventListener("pointerleave", () => this.invalidate(), { signal });
    this.rows.addEventListener("focusout", () => this.invalidate(), { signal });
  }

  update() {
    const { services } = this;
    const live = services.filter(({ exposure }) => isLive(exposure)).length;
    const taken = new Map(services
      .filter(({ exposure }) => exposure?.hostname)
      .flatMap(({ exposure, name }) => [
        [exposure.hostname, name], [shownHostname(exposure), name],
      ]));
    this.summary.textContent = live
      ? t("services.live", { count: live, total: services.length }) : t("services.none_live");
    this.summary.hidden = !services.length;
    this.filterLine.hidden = services.length < FILTER_FROM;
    const query = this.filterLine.hidden ? "" : this.filter.value.trim();
    const shown = this.#arrange().filter((service) => matches(service, query));
    reconcile(this.rows, shown, {
      key: ({ id }) => id,
      make: (service) => h("hg-service", { service }),
      fill: (row, service) => Object.assign(row, {
        service, taken, relays: this.relays, mqtt: this.mqtt,
      }),
    });
    this.empty.hidden = services.length > 0;
    this.none.hidden = !services.length || shown.length > 0;
    this.none.textContent = this.none.hidden ? "" : t("services.no_match", { query });
  }

  #arrange() {
    const sorted = inOrder(this.services);
    if (this.rows.matches(":hover, :focus-within")) {
      const known = new Map(this.#order.map((id, index) => [id, index]));
      const last = this.#order.length;
      sorted.sort((a, b) => (known.get(a.id) ?? last) - (known.get(b.id) ?? last));
    }
    this.#order = sorted.map(({ id }) => id);
    return sorted;
  }
}

properties(HgServices, { services: [], relays: [], mqtt: false });
customElements.define("hg-services", HgServices);
