/**
 * What to know before a service that trusts the home network goes public.
 *
 *     service.local_trust ─▶ { message, hint } in the user's language, or null
 */

import { t } from "./i18n.js";

/** What to look at in each application that home/discovery/local_trust.py knows. */
const SETTINGS = {
  octoprint: "trust.octoprint",
  moonraker: "trust.moonraker",
  transmission: "trust.transmission",
  qbittorrent: "trust.qbittorrent",
  servarr: "trust.servarr",
  sabnzbd: "trust.sabnzbd",
  plex: "trust.plex",
  jellyfin: "trust.jellyfin",
  home_assistant: "trust.home_assistant",
  frigate: "trust.frigate",
  cups: "trust.cups",
  open_page: "trust.open_page",
  ssh: "trust.ssh",
  smtp: "trust.smtp",
  postgresql: "trust.postgresql",
  dns: "trust.dns",
};

/** The note of a service, null if nothing is known that a visitor could abuse. */
export function trustNote({ local_trust: trust }) {
  if (!trust) return null;
  const tried = trust.tells_apart ? t("trust.tells_apart") : "";
  const setting = SETTINGS[trust.app];
  if (!setting) return tried ? { message: tried, hint: t("trust.look") } : null;
  const hint = [t(setting), tried].filter(Boolean).join(" ");
  return { message: t("trust.known", { app: trust.name }), hint };
}

/** The note where the switch is: of what is public without a password of ours. */
export function openTrustNote(service) {
  const { exposure } = service;
  return exposure && !exposure.access && !exposure.proxy_protocol ? trustNote(service) : null;
}
