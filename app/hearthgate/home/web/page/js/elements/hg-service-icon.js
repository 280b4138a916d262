/**
 * A service's own icon, or a drawing of its kind if it has none or it cannot be shown.
 */

import { HgElement, properties } from "../element.js";
import { h } from "../dom.js";
import { icon } from "./hg-icon.js";

// The kinds of home/discovery/catalog.py; what is not here is shown as a web page.
const DRAWINGS = {
  "home-assistant": "home",
  printer: "printer",
  "3d-printer": "printer3d",
  camera: "camera",
  nas: "nas",
  router: "router",
  light: "light",
  media: "media",
  sensor: "sensor",
  energy: "energy",
  bridge: "bridge",
  addon: "addon",
};

class HgServiceIcon extends HgElement {
  build() {
    this.drawing = icon("web");
    this.image = h("img", { alt: "", hidden: true, width: 28, height: 28 });
    this.append(this.drawing, this.image);
  }

  listen(signal) {
    this.image.addEventListener("load", () => this.#show(true), { signal });
    this.image.addEventListener("error", () => this.#show(false), { signal });
  }

  update() {
    const { id, kind, icon: tag } = this.service;
    this.drawing.setAttribute("name", Object.hasOwn(DRAWINGS, kind) ? DRAWINGS[kind] : "web");
    if (!tag) {
      this.image.removeAttribute("src");
      this.#show(false);
      return;
    }
    const path = `api/services/${encodeURIComponent(id)}/icon?v=${encodeURIComponent(tag)}`;
    if (this.image.getAttribute("src") !== path) this.image.src = path;
  }

  #show(own) {
    this.image.hidden = !own;
    this.drawing.hidden = own;
  }
}

properties(HgServiceIcon, { service: null });
customElements.define("hg-service-icon", HgServiceIcon);
