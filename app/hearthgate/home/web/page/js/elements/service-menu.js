/**
 * What a service's menu offers, and the dialog behind each entry.
 *
 * `row` is the hg-service: its `service`, `relays` and `taken` are handed on.
 */

import { h } from "../dom.js";
import { shownHostname } from "../hostname.js";
import { t } from "../i18n.js";
import { wish } from "../wish.js";

const isWeb = ({ scheme }) => scheme !== "tcp" && scheme !== "udp";

export function serviceMenu(service, relays, mqtt) {
  const { exposure, origin } = service;
  const manual = origin === "manual";
  const site = exposure && isWeb(service);
  const forward = exposure && !isWeb(service);
  return [
    site && { action: "access", text: t("menu.access"), icon: "lock" },
    forward && relays.length && { action: "port", text: t("menu.port"), icon: "web" },
    site && relays.length && { action: "hostname", text: t("menu.hostname"), icon: "web" },
    exposure && mqtt && { action: "switch", text: t("menu.switch"), icon: "home" },
    site && { action: "protocols", text: t("menu.protocols"), icon: "bridge" },
    manual && { action: "edit", text: t("menu.edit"), icon: "edit" },
    manual && { action: "remove", text: t("menu.remove"), icon: "remove", danger: true },
  ].filter(Boolean);
}

/** `taken` without the service itself: its own hostname is free for it. */
function takenByOthers({ service, taken }) {
  const others = new Map(taken);
  if (service.exposure) {
    others.delete(service.exposure.hostname);
    others.delete(shownHostname(service.exposure));
  }
  return others;
}

export const serviceDialogs = {
  expose: (row) => (isWeb(row.service)
    ? h("hg-expose-dialog", {
      service: row.service, relays: row.relays, taken: takenByOthers(row),
    })
    : h("hg-forward-dialog", { service: row.service, relays: row.relays })),

  port: (row) => h("hg-forward-dialog", {
    service: row.service, relays: row.relays, keeps: true,
  }),

  hostname: (row) => h("hg-hostname-dialog", {
    service: row.service, relays: row.relays, taken: takenByOthers(row),
  }),

  access: (row) => h("hg-access-dialog", { service: row.service }),

  switch: (row) => h("hg-switch-dialog", { service: row.service }),

  protocols: (row) => h("hg-protocols-dialog", { service: row.service }),

  edit: (row) => h("hg-service-dialog", { service: row.service }),

  remove: ({ service: { id, name, exposure } }) => {
    const dialog = h("hg-confirm-dialog", {
      question: t("service.remove_title", { name }),
      consequence: exposure?.enabled
        ? t("service.remove_live", { name, url: exposure.url })
        : t("service.remove_text", { name }),
      verb: t("service.remove_submit"),
      danger: true,
    });
    dialog.run = () => wish(dialog, "removeService", { id });
    return dialog;
  },
};
