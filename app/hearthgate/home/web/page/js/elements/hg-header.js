/**
 * The page's head: the gate, the name, and a menu when there is something to choose.
 */

import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";
import { openDialog } from "./dialog.js";
import { ChooseEvent } from "./hg-menu.js";

class HgHeader extends HgElement {
  build() {
    this.menu = h("hg-menu", { label: t("menu.page") });
    this.append(h("header", { class: "page-head" },
      h("img", { src: "icon.svg", alt: "", width: 32, height: 32 }),
      h("h1", {}, "Hearthgate"),
      this.menu));
  }

  listen(signal) {
    this.menu.addEventListener(ChooseEvent.NAME, ({ action }) => this.#choose(action), { signal });
  }

  update() {
    const logout = { action: "logout", text: t("menu.logout"), icon: "logout" };
    const password = { action: "password", text: t("menu.password"), icon: "lock" };
    this.menu.items = this.session?.login === "password" ? [password, logout] : [];
  }

  #choose(action) {
    if (action === "logout") wish(this, "logout");
    else openDialog(this, h("hg-password-dialog", { changeable: this.session.can_change_password }));
  }
}

properties(HgHeader, { session: null });
customElements.define("hg-header", HgHeader);
