/**
 * Copy text, also where `navigator.clipboard` is missing.
 *
 * A page on plain http at home is no secure context, so the old way is the usual one
 * there: select a text field and ask for "copy". The field has to live inside the open
 * dialog, because everything outside a modal one is inert.
 */

export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed, as in some iframes: try the old way.
    }
  }
  return copyBySelection(text);
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.className = "visually-hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    focused?.focus?.({ preventScroll: true });
  }
}
