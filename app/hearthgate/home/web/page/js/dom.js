/**
 * Make elements without ever parsing text as HTML.
 *
 *     h("p", { class: "hint" }, text)      text always becomes a text node
 *
 * Names with a dash, and the few without a property of their own, become attributes;
 * everything else is set as a property. Adds no listeners: those belong to
 * `HgElement.listen`, which also takes them away again.
 */

const ATTRIBUTES = new Set(["role", "for", "list", "form"]);

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name.includes("-") || ATTRIBUTES.has(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

let counter = 0;

/** An id that is unique in this document, for labels and aria references. */
export function uniqueId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}

/**
 * Show exactly `items` in `parent`, one element per key, and keep the elements.
 *
 * An element that stays in its place is not touched, so that it keeps its focus;
 * `fill(element, item)` hands the new value down.
 */
export function reconcile(parent, items, { key, make, fill }) {
  const present = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = present.get(name);
    present.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    fill(element, item);
    if (element === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(element, cursor);
  }
  for (const left of present.values()) left.remove();
}

/** A long address that may break after its dots and slashes, not inside a word. */
export function breakable(text) {
  const pieces = text.split(/(?<=[./])(?=[^./])/);
  return pieces.flatMap((piece, index) => index ? [h("wbr"), piece] : [piece]);
}

/** True for an address that may become a link: a page's data never decides the scheme. */
export function isWebAddress(text) {
  try {
    return ["http:", "https:"].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}
