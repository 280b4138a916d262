/**
 * The home's REST API, one method per wish.
 *
 * Every failure is an ApiError with `code`, `message`, `hint` and `fields`, ready to be
 * shown: an answer of the home carries them, and what never reached the home (no network,
 * a proxy's error page) is put into the same form. Addresses are relative to the page, so
 * it works below any prefix. Keeps no state and never retries.
 */

import { t } from "./i18n.js";

const DEADLINE_MS = 30_000;

export class ApiError extends Error {
  constructor({ code, message, hint = "", fields = {} }, status = 0) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.hint = hint;
    this.fields = fields ?? {};
    this.status = status;
  }
}

export class Api {
  #base;

  constructor(base = document.baseURI) {
    this.#base = base;
  }

  session = () => this.#send("GET", "api/session");
  login = (password) => this.#send("POST", "api/login", { password });
  logout = () => this.#send("POST", "api/logout");
  changePassword = (fields) => this.#send("POST", "api/password", fields);

  pair = (code) => this.#send("POST", "api/relays", { code });
  forgetRelay = (id) => this.#send("DELETE", `api/relays/${part(id)}`);
  reconnect = (id) => this.#send("POST", `api/relays/${part(id)}/reconnect`);

  addService = (fields) => this.#send("POST", "api/services", fields);
  editService = (id, fields) => this.#send("PATCH", `api/services/${part(id)}`, fields);
  removeService = (id) => this.#send("DELETE", `api/services/${part(id)}`);

  setExposure = (id, fields) => this.#send("PUT", `api/services/${part(id)}/exposure`, fields);
  retry = (id) => this.#send("POST", `api/services/${part(id)}/exposure/retry`);

  checkHass = () => this.#send("POST", "api/hass/check");
  trustHass = (fields) => this.#send("POST", "api/hass/trust", fields);
  usePublicUrl = () => this.#send("POST", "api/hass/public_url");

  async #send(method, path, body) {
    let response;
    try {
      response = await fetch(new URL(path, this.#base), {
        method,
        headers: body === undefined ? {} : { "Content-Type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
    } catch (cause) {
      throw unreachable(cause);
    }
    if (!response.ok) throw await refusal(response);
    if (response.status === 204) return null;
    return response.json().catch(() => null);
  }
}

function part(id) {
  return encodeURIComponent(id);
}

function unreachable(cause) {
  const late = cause instanceof DOMException && cause.name === "TimeoutError";
  return new ApiError({
    code: late ? "timeout" : "unreachable",
    message: late ? t("failure.timeout") : t("failure.unreachable"),
    hint: t("failure.unreachable_hint"),
  });
}

async function refusal(response) {
  const { error } = await response.json().catch(() => ({}));
  if (typeof error?.message === "string") return new ApiError(error, response.status);
  return new ApiError(
    { code: "unexpected", message: t("failure.unexpected", { status: response.status }) },
    response.status,
  );
}
