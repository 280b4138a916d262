/**
 * The home's problems in the reader's language.
 *
 *     { code, message, hint, fields } ── told ──▶ { message, hint }
 *
 * The home speaks English. `errors` has other words for a code, to be filled with the
 * fields; `said` is a field with the code of whom an error quotes, a relay or an earlier
 * failure. What stands in a field may be English again, as the reason is: `sentences` has
 * those by their English form. What has no entry stays as the home said it, so an English
 * page has no entries at all, and so does what comes without the fields that its entry
 * names. For notifications the home does the same by itself, see home/i18n there.
 */

const PLACE = /\{(\w+)\}/g;
const SENTENCE_MAX = 1000; // a relay may say much; nothing of ours is longer

let errors = new Map();
let sentences = [];

/** Take the texts of a language. */
export function learn(texts) {
  errors = new Map(Object.entries(texts.errors));
  sentences = Object.entries(texts.sentences).map(([english, words]) => [pattern(english), words]);
}

/** Message and hint of a problem, or of an ApiError; empty where there is none. */
export function told(problem) {
  const { code, message = "", hint = "", fields = {} } = problem ?? {};
  const words = [fields.said, code].map((one) => errors.get(one)).find((one) => fits(one, fields));
  if (!words) return { message: sentence(message), hint: sentence(hint) };
  return { message: fill(words.message, fields), hint: fill(words.hint ?? "", fields) };
}

function fits(words, fields) {
  const places = `${words?.message}${words?.hint}`.matchAll(PLACE);
  return words && [...places].every(([, name]) => Object.hasOwn(fields, name));
}

/** A sentence, or the part of one. */
export function sentence(text) {
  if (text.length > SENTENCE_MAX) return text;
  for (const [form, words] of sentences) {
    const found = form.exec(text);
    if (found) return fill(words, found.groups ?? {});
  }
  return text;
}

function fill(words, fields) {
  return words.replace(PLACE, (_, name) => sentence(fields[name]));
}

function pattern(english) {
  const parts = english.split(PLACE).map((part, at) =>
    at % 2 ? `(?<${part}>.+)` : part.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return new RegExp(`^${parts.join("")}$`, "s");
}
