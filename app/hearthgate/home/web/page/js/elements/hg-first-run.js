/**
 * What to do while no relay is joined: what one is, where the code is, and its field.
 */

import { HgElement } from "../element.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";

/** The two commands that show a pairing code, as typed on the relay's machine. */
export function codeSources() {
  const source = (words, command) => h("li", {},
    h("span", { class: "secondary" }, words),
    h("span", { class: "command" }, h("code", {}, command),
      h("hg-copy-button", { text: command, label: t("copy.command") })));
  return h("ul", { class: "commands" },
    source(t("first.fresh"), "docker compose logs relay"),
    source(t("first.again"), "hearthgate relay invite"));
}

class HgFirstRun extends HgElement {
  build() {
    this.append(h("section", { class: "card first-run" },
      h("div", { class: "first-head" },
        h("img", { src: "icon.svg", alt: "", width: 48, height: 48 }),
        h("div", {}, h("h2", {}, t("first.title")), h("p", { class: "secondary" }, t("first.relay")))),
      h("h3", {}, t("first.where")),
      codeSources(),
      h("hg-pair-form")));
  }
}

customElements.define("hg-first-run", HgFirstRun);
