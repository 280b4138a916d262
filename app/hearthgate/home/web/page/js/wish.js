/**
 * Wishes: what an element would like to happen, sent up to whoever can do it.
 *
 *     element ── wish(this, "pair", { code }) ──▶ hg-app ── api ──▶ home
 *             ◀────────────── a promise: the answer, or an ApiError ───────
 *
 * Elements never speak to the API themselves.
 */

export class WishEvent extends Event {
  static NAME = "hg-wish";

  /** A promise, once somebody has taken the wish. */
  result = null;

  constructor(action, fields) {
    super(WishEvent.NAME, { bubbles: true, composed: true });
    this.action = action;
    this.fields = fields;
  }

  /** Take the wish; nobody further up sees it. */
  grant(result) {
    this.result = Promise.resolve(result);
    this.stopPropagation();
  }
}

export function wish(element, action, fields = {}) {
  const event = new WishEvent(action, fields);
  element.dispatchEvent(event);
  return event.result ?? Promise.reject(new Error(`nobody grants the wish ${action}`));
}
