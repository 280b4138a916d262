/**
 * Where a live service can be reached from everywhere: open it, copy it, and who may.
 */

import { HgElement, properties } from "../element.js";
import { breakable, h, isWebAddress } from "../dom.js";
import { day, t } from "../i18n.js";
import { shownHostname } from "../hostname.js";
import { isLive } from "../phases.js";
import { icon } from "./hg-icon.js";

class HgPublicLink extends HgElement {
  build() {
    this.words = h("span", { class: "link-words" });
    this.link = h("a", { class: "public-link", target: "_blank", rel: "noopener noreferrer" },
      this.words, icon("open"));
    this.copy = h("hg-copy-button", { label: t("copy.address") });
    this.accessIcon = icon("lock");
    this.accessWords = h("span");
    this.certificate = h("span", { class: "certificate" });
    this.append(
      h("div", { class: "link-line" }, this.link, this.copy),
      h("p", { class: "link-facts" },
        h("span", { class: "fact" }, this.accessIcon, this.accessWords), this.certificate),
    );
  }

  update() {
    const { exposure } = this;
    this.hidden = !isLive(exposure);
    if (this.hidden) return;
    if (isWebAddress(exposure.url)) this.link.href = exposure.url;
    else this.link.removeAttribute("href");
    // A port is typed into some program, which knows by itself what it speaks.
    const address = exposure.url.replace(/^(tcp|udp):\/\//, "");
    // As people read it; what is copied is what every program understands.
    const words = address.replace(exposure.hostname, shownHostname(exposure)).replace(/\/$/, "");
    if (this.words.textContent !== words) this.words.replaceChildren(...breakable(words));
    this.copy.text = address;
    this.accessIcon.setAttribute("name", exposure.access ? "lock" : "web");
    this.accessWords.textContent = exposure.access
      ? t("access.protected", { username: exposure.access.username })
      : t("access.open");
    const expires = exposure.status.certificate_expires;
    this.certificate.hidden = !expires;
    if (expires) this.certificate.textContent = t("certificate.until", { day: day(expires) });
  }
}

properties(HgPublicLink, { exposure: null });
customElements.define("hg-public-link", HgPublicLink);
