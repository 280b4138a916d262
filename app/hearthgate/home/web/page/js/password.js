/**
 * Make passwords that are strong and can still be read out aloud.
 *
 * `crypto.getRandomValues` also works on plain http. Four groups of five from 31 signs
 * are 99 bits. Signs that look alike (0 o, 1 l i) are left out.
 */

const SIGNS = "abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS = 4;
const GROUP_LENGTH = 5;
const FAIR = 256 - (256 % SIGNS.length); // bytes above would favour the first signs

function sign() {
  const byte = new Uint8Array(1);
  do crypto.getRandomValues(byte);
  while (byte[0] >= FAIR);
  return SIGNS[byte[0] % SIGNS.length];
}

export function strongPassword() {
  const group = () => Array.from({ length: GROUP_LENGTH }, sign).join("");
  return Array.from({ length: GROUPS }, group).join("-");
}
