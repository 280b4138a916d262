/**
 * Hostnames as people type them: a label in front of a domain that a relay granted.
 *
 * Checks what the home will check again (RFC 1035 §2.3.1, RFC 1123 §2.1), only sooner, and
 * answers with the key of a text. Names with other letters become their A-labels (RFC 5890).
 */

const LABEL_MAX = 63; // octets, RFC 1035 §2.3.4
const NAME_MAX = 253;

/** Every domain that the relays grant, with its relay. */
export function grantedDomains(relays) {
  return relays.flatMap((relay) => relay.domains.map((domain) => ({ domain, relay })));
}

/** Split a hostname at the longest of `domains` that it ends with. */
export function split(hostname, domains) {
  const fitting = domains
    .filter((domain) => hostname.endsWith(`.${domain}`))
    .sort((a, b) => b.length - a.length);
  if (domains.includes(hostname)) return { label: "", domain: hostname };
  if (!fitting.length) return { label: "", domain: domains[0] ?? "" };
  return { label: hostname.slice(0, -fitting[0].length - 1), domain: fitting[0] };
}

/** "Küche" becomes "xn--kche-0ra"; what cannot be a hostname stays as it is. */
export function toAscii(label) {
  const plain = label.trim().toLowerCase();
  if (/^[a-z0-9.-]*$/.test(plain) || /[\s/?#@:\\%[\]]/.test(plain)) return plain;
  try {
    return new URL(`http://${plain}.example/`).hostname.replace(/\.example$/, "");
  } catch {
    return plain;
  }
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
  return [toAscii(label), domain].filter(Boolean).join(".");
}

/** The key of a text that says what is wrong; null: nothing is. */
export function mistake(label, domain) {
  const ascii = toAscii(label);
  if (!ascii) return null; // the domain itself, which a grant covers too
  if (/\s/.test(ascii)) return "hostname.space";
  for (const piece of ascii.split(".")) {
    if (!piece) return "hostname.dots";
    if (!/^[a-z0-9-]+$/.test(piece)) return "hostname.signs";
    if (piece.startsWith("-") || piece.endsWith("-")) return "hostname.hyphen";
    if (piece.length > LABEL_MAX) return "hostname.long";
  }
  return join(label, domain).length > NAME_MAX ? "hostname.long" : null;
}
