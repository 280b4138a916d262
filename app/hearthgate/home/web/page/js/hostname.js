/**
 * Hostnames as people type them: a label in front of a domain that a relay granted.
 *
 * Checks what the home will check again (RFC 1035 §2.3.1, RFC 1123 §2.1), only sooner, and
 * answers with the key of a text. Which other letters a name may have, and what they
 * become in DNS, only the home knows: browsers allow more than IDNA 2008 does.
 */

const LABEL_MAX = 63; // octets, RFC 1035 §2.3.4
const NAME_MAX = 253;

/** Every domain that the relays grant, as it is compared and as it is read. */
export function grantedDomains(relays) {
  return relays.flatMap((relay) => relay.domains.map((domain, at) =>
    ({ domain, shown: relay.domains_shown?.[at] ?? domain, relay })));
}

/** A hostname as people read it, and the part of a URL that shows it. */
export function shownHostname(exposure) {
  return exposure.hostname_shown ?? exposure.hostname;
}

/** Split a hostname at the longest of `domains` that it ends with; its label as `shown`. */
export function split(hostname, domains, shown = hostname) {
  const fitting = domains
    .filter((domain) => hostname.endsWith(`.${domain}`))
    .sort((a, b) => b.length - a.length);
  if (domains.includes(hostname)) return { label: "", domain: hostname };
  if (!fitting.length) return { label: "", domain: domains[0] ?? "" };
  const pieces = hostname.slice(0, -fitting[0].length - 1).split(".").length;
  return { label: shown.split(".").slice(0, pieces).join("."), domain: fitting[0] };
}

/** A label from a service's name, such as "living-room-tv". */
export function labelFor(name) {
  return name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/ß/g, "ss")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, LABEL_MAX)
    .replace(/^-+|-+$/g, "");
}

/** The hostname that a label and a domain make; no label: the domain itself. */
export function join(label, domain) {
  return [label.trim().toLowerCase(), domain].filter(Boolean).join(".");
}

/** The key of a text that says what is wrong; null: nothing is. */
export function mistake(label, domain) {
  const typed = label.trim().toLowerCase();
  if (!typed) return null; // the domain itself, which a grant covers too
  if (/\s/.test(typed)) return "hostname.space";
  for (const piece of typed.split(".")) {
    if (!piece) return "hostname.dots";
    if (/[^a-z0-9\u0080-\uffff-]/.test(piece)) return "hostname.signs";
    if (piece.startsWith("-") || piece.endsWith("-")) return "hostname.hyphen";
    if (piece.length > LABEL_MAX) return "hostname.long";
  }
  return join(label, domain).length > NAME_MAX ? "hostname.long" : null;
}
