/**
 * Ask once, plainly, before a service can be reached by everybody on the Internet.
 */

import { h } from "../dom.js";
import { properties } from "../element.js";
import { labelFor, shownHostname } from "../hostname.js";
import { t } from "../i18n.js";
import { trustNote } from "../local-trust.js";
import { wish } from "../wish.js";
import { HgDialog } from "./dialog.js";
import { icon } from "./hg-icon.js";

class HgExposeDialog extends HgDialog {
  title() {
    return t("expose.title", { name: this.service.name });
  }

  action() {
    return t("expose.submit");
  }

  content() {
    const { service } = this;
    this.sentence = h("span");
    this.address = h("strong", { class: "address" });
    this.hostname = h("hg-hostname-field", {
      relays: this.relays,
      taken: this.taken,
      hostname: service.exposure?.hostname ?? service.suggested_hostname ?? "",
      shown: service.exposure?.hostname ? shownHostname(service.exposure) : "",
      suggestion: labelFor(service.name),
    });
    this.access = h("hg-access-fields");
    return [
      h("p", { class: "plain-warning" }, icon("web"),
        h("span", {}, this.sentence, " ", this.address)),
      h("hg-problem", { level: "warning", problem: trustNote(service) }),
      this.hostname,
      this.access,
    ];
  }

  listen(signal) {
    super.listen(signal);
    this.addEventListener("input", () => this.invalidate(), { signal });
    this.addEventListener("change", () => this.invalidate(), { signal });
  }

  update() {
    super.update();
    const { access } = this;
    const key = access.value ? "expose.sentence_protected" : "expose.sentence";
    this.sentence.textContent = t(key, { name: this.service.name });
    this.address.textContent = this.hostname.mistake() ? "…" : `https://${this.hostname.words}`;
  }

  check() {
    if (this.hostname.mistake()) {
      this.hostname.focus();
      return false;
    }
    return this.access.check();
  }

  save() {
    const fields = { enabled: true, ...this.hostname.value, access: this.access.value };
    return wish(this, "setExposure", { id: this.service.id, fields });
  }
}

properties(HgExposeDialog, { service: null, relays: [], taken: new Map() });
customElements.define("hg-expose-dialog", HgExposeDialog);
