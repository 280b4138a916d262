/**
 * Look like the Home Assistant around us, or like ourselves.
 *
 *     parent <html> ── computed values ──▶ our <html style>     again on each change
 *
 * Ingress is a same-origin iframe and inherits nothing, so a short list of custom
 * properties is copied. Dark or light follows from the background's luminance, because
 * a theme need not say it. Alone, or if the parent cannot be read, the stylesheet's own
 * values hold and the browser's preference decides. Copies no rules, loads no font.
 */

const COPIED = [
  "--primary-color",
  "--text-primary-color",
  "--primary-background-color",
  "--card-background-color",
  "--secondary-background-color",
  "--divider-color",
  "--primary-text-color",
  "--secondary-text-color",
  "--error-color",
  "--warning-color",
  "--success-color",
  "--info-color",
  "--ha-card-border-radius",
  "--ha-font-family-body",
];

/** The document of Home Assistant around us; null when we stand alone. */
export function surroundings() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null; // another origin: none of our business
  }
}

/** Relative luminance (WCAG 2.2) of a computed `rgb(…)` colour. */
export function luminance(color) {
  const channels = color.match(/[\d.]+/g)?.slice(0, 3).map(Number) ?? [255, 255, 255];
  const [red, green, blue] = channels.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Start following; returns a function that stops. */
export function followTheme(root = document.documentElement) {
  const outside = surroundings();
  const watched = outside?.documentElement;
  if (!watched) return () => {};
  const copy = () => {
    const style = outside.defaultView.getComputedStyle(watched);
    for (const name of COPIED) {
      const value = style.getPropertyValue(name).trim();
      if (value) root.style.setProperty(name, value);
      else root.style.removeProperty(name);
    }
    if (!style.getPropertyValue("--primary-background-color").trim()) {
      delete root.dataset.scheme; // a parent without a theme: back to the preference
      return;
    }
    const background = getComputedStyle(document.body).backgroundColor;
    root.dataset.scheme = luminance(background) < 0.3 ? "dark" : "light";
  };
  copy();
  const observer = new MutationObserver(copy);
  observer.observe(watched, { attributes: true, attributeFilter: ["style", "class"] });
  return () => observer.disconnect();
}

/** Call `told` with true while Home Assistant draws its own bar above us. */
export function followFrame(told, signal) {
  const outside = surroundings();
  if (!outside) return;
  const { origin } = window.location;
  addEventListener("message", (event) => {
    if (event.source !== window.parent || event.origin !== origin) return;
    if (event.data?.type !== "home-assistant/properties") return;
    told(Boolean(event.data.narrow));
  }, { signal });
  window.parent.postMessage({ type: "home-assistant/subscribe-properties" }, origin);
}
