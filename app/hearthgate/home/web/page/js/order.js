/**
 * Which services to show, and in which order: live first, then reachable, then the rest.
 */

import { compareNames } from "./i18n.js";

export const FILTER_FROM = 9; // fewer fit on a screen

function rank(service) {
  if (service.exposure?.enabled) return 0;
  return service.reachable === false ? 2 : 1;
}

export function inOrder(services) {
  return [...services].sort((a, b) =>
    rank(a) - rank(b) || compareNames(a.name, b.name) || compareNames(a.id, b.id));
}

/** Every word has to occur somewhere in what the row says. */
export function matches(service, query) {
  const text = [service.name, service.title, service.host, service.url, service.exposure?.url]
    .join(" ")
    .toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
