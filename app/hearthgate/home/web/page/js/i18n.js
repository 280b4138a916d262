/**
 * The page's texts in the reader's language.
 *
 *     t("relays.title", { count: 3 })    the plural form by Intl.PluralRules
 *
 * A text is a string, or an object of plural forms chosen by `count`. Inside Home Assistant
 * its language wins, then the browser's list. English is the fallback. Texts are plain
 * text: they are never parsed as HTML. What the home itself says is in problems.js.
 */

import { learn } from "./problems.js";

const OWN = "en"; // what the home speaks
const LANGUAGES = [OWN, "de"];

let locale = OWN; // for numbers and times: "en-GB" where the texts are "en"
let texts = {};
let plurals = new Intl.PluralRules(OWN);

/** The first of the wanted language tags that we have texts for. */
export function choose(wanted) {
  return wanted.find((tag) => LANGUAGES.includes(primary(tag))) ?? LANGUAGES[0];
}

/** Load the texts. `wanted` are language tags, the dearest first. */
export async function load(wanted) {
  locale = choose(wanted);
  const language = primary(locale);
  const [words, problems] = await Promise.all([
    read(`${language}.json`), language === OWN ? null : read(`problems/${language}.json`),
  ]);
  texts = words;
  if (problems) learn(problems);
  plurals = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

async function read(name) {
  const response = await fetch(new URL(`../translations/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`no texts: ${response.status}`);
  return response.json();
}

function primary(tag) {
  return String(tag).toLowerCase().split("-")[0];
}

export function t(key, values = {}) {
  const text = texts[key];
  const form = typeof text === "object" ? text[plurals.select(values.count)] ?? text.other : text;
  return (form ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** "in 12 seconds"; never in the past, because the clocks of two machines differ. */
export function until(unixTime, now = Date.now()) {
  const seconds = Math.max(0, Math.ceil(unixTime - now / 1000));
  const format = new Intl.RelativeTimeFormat(locale, { numeric: "always" });
  if (seconds < 90) return format.format(seconds, "second");
  if (seconds < 90 * 60) return format.format(Math.round(seconds / 60), "minute");
  if (seconds < 36 * 3600) return format.format(Math.round(seconds / 3600), "hour");
  return format.format(Math.round(seconds / 86400), "day");
}

/** A calendar day, such as "3 March 2027". */
export function day(unixTime) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "long" }).format(unixTime * 1000);
}

export function milliseconds(value) {
  return new Intl.NumberFormat(locale, {
    style: "unit",
    unit: "millisecond",
    maximumFractionDigits: value < 10 ? 1 : 0,
  }).format(value);
}

/** "a, b and c" */
export function list(items) {
  return new Intl.ListFormat(locale, { type: "conjunction" }).format(items);
}

export function compareNames(a, b) {
  return a.localeCompare(b, locale, { numeric: true, sensitivity: "base" });
}
