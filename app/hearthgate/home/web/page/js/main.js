/**
 * Start the page: its colours, its language, then its elements.
 *
 * Elements draw texts when they are built, so the texts have to be there first.
 */

import { load } from "./i18n.js";
import { followTheme, surroundings } from "./theme.js";

const ELEMENTS = [
  "hg-icon", "hg-service-icon", "hg-countdown", "hg-problem", "hg-copy-button", "hg-toggle",
  "hg-menu", "hg-progress", "hg-public-link", "hg-announcer", "hg-connection-bar", "hg-header",
  "hg-login", "hg-pair-form", "hg-first-run", "hg-confirm-dialog", "hg-pair-dialog",
  "hg-hostname-field", "hg-access-fields", "hg-expose-dialog", "hg-hostname-dialog",
  "hg-forward-dialog", "hg-access-dialog", "hg-switch-dialog", "hg-protocols-dialog",
  "hg-service-dialog", "hg-password-dialog",
  "hg-problems", "hg-relay", "hg-relays", "hg-hass", "hg-service", "hg-services",
];

followTheme();
const outside = surroundings()?.documentElement.lang;
try {
  const texts = load([outside, ...navigator.languages].filter(Boolean));
  await Promise.all([texts, ...ELEMENTS.map((name) => import(`./elements/${name}.js`))]);
  await import("./elements/hg-app.js");
} catch (error) {
  // Without texts there is no language to say it in.
  document.body.textContent = "Hearthgate’s page could not be loaded. Reload it in a moment.";
  throw error;
}
