/**
 * A button with three dots and the menu that it opens.
 *
 * `items` are { action, text, icon, danger? }; choosing one dispatches "hg-choose" with its
 * action. Keys as in the ARIA menu button pattern. Without items it keeps its place but
 * cannot be seen or reached.
 */

import { HgElement, properties } from "../element.js";
import { h, uniqueId } from "../dom.js";
import { icon } from "./hg-icon.js";

export class ChooseEvent extends Event {
  static NAME = "hg-choose";

  constructor(action) {
    super(ChooseEvent.NAME, { bubbles: true });
    this.action = action;
  }
}

class HgMenu extends HgElement {
  build() {
    const id = uniqueId("menu");
    this.button = h("button", {
      type: "button",
      class: "icon-button",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      "aria-controls": id,
    }, icon("more"));
    this.list = h("div", { class: "menu", role: "menu", id, hidden: true });
    this.append(this.button, this.list);
  }

  listen(signal) {
    this.button.addEventListener("click", () => this.#open(this.list.hidden), { signal });
    this.button.addEventListener("keydown", (event) => this.#onButtonKey(event), { signal });
    this.list.addEventListener("keydown", (event) => this.#onListKey(event), { signal });
    this.list.addEventListener("click", (event) => this.#onClick(event), { signal });
    this.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.contains(relatedTarget)) this.#open(false);
    }, { signal });
    document.addEventListener("pointerdown", ({ target }) => {
      if (!this.contains(target)) this.#open(false);
    }, { signal });
  }

  update() {
    this.button.setAttribute("aria-label", this.label);
    this.button.title = this.label;
    this.dataset.empty = String(!this.items.length);
    const drawn = JSON.stringify(this.items);
    if (drawn === this.list.dataset.drawn) return;
    this.list.dataset.drawn = drawn;
    this.list.replaceChildren(...this.items.map((item) =>
      h("button", {
        type: "button",
        role: "menuitem",
        tabIndex: -1,
        class: item.danger ? "menu-item danger" : "menu-item",
        "data-action": item.action,
      }, icon(item.icon), item.text)));
  }

  focus() {
    this.button.focus();
  }

  #open(wanted) {
    if (wanted === !this.list.hidden) return;
    this.list.hidden = !wanted;
    this.button.setAttribute("aria-expanded", String(wanted));
    if (wanted) this.list.firstElementChild?.focus();
  }

  #onClick(event) {
    const chosen = event.target.closest("[data-action]");
    if (!chosen) return;
    this.button.focus();
    this.#open(false);
    this.dispatchEvent(new ChooseEvent(chosen.dataset.action));
  }

  #onButtonKey(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    this.#open(true);
    if (event.key === "ArrowUp") this.list.lastElementChild?.focus();
  }

  #onListKey(event) {
    const entries = [...this.list.children];
    const at = entries.indexOf(document.activeElement);
    const next = {
      ArrowDown: entries[(at + 1) % entries.length],
      ArrowUp: entries.at(at - 1),
      Home: entries[0],
      End: entries.at(-1),
    }[event.key];
    if (next) next.focus();
    else if (event.key === "Escape") {
      this.button.focus();
      this.#open(false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

properties(HgMenu, { items: [], label: "" });
customElements.define("hg-menu", HgMenu);
