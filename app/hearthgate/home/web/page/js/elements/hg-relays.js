/**
 * The joined relays, and a way to join another.
 */

import { h, reconcile } from "../dom.js";
import { HgElement, properties } from "../element.js";
import { t } from "../i18n.js";
import { openDialog } from "./dialog.js";
import { icon } from "./hg-icon.js";

class HgRelays extends HgElement {
  build() {
    this.heading = h("h2");
    this.rows = h("div", { class: "rows" });
    this.add = h("button", { type: "button", class: "button" }, icon("plus"), t("relays.add"));
    this.append(h("section", { class: "card" },
      h("div", { class: "card-head" }, this.heading, this.add), this.rows));
  }

  listen(signal) {
    this.add.addEventListener("click", () => openDialog(this, h("hg-pair-dialog")), { signal });
  }

  update() {
    this.heading.textContent = t("relays.title", { count: this.relays.length });
    reconcile(this.rows, this.relays, {
      key: ({ id }) => id,
      make: () => h("hg-relay"),
      fill: (row, relay) => {
        row.relay = relay;
      },
    });
  }
}

properties(HgRelays, { relays: [] });
customElements.define("hg-relays", HgRelays);
