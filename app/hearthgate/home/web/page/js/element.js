/**
 * What every `hg-…` element shares.
 *
 *     connectedCallback ─▶ build() once ─▶ listen(signal) ─▶ update() in a microtask
 *     a property changes ─▶ invalidate() ─▶ one update() for all of them
 *
 * State flows down as properties, wishes go up (wish.js). Listeners are added with the
 * signal that `listen` is given and end when the element leaves the document. Draws
 * nothing by itself, and keeps no state that an owner could pass.
 */

export class HgElement extends HTMLElement {
  #connection = null;
  #built = false;
  #queued = false;

  connectedCallback() {
    this.#connection = new AbortController();
    if (!this.#built) {
      this.#built = true;
      this.build();
    }
    this.listen(this.#connection.signal);
    this.invalidate();
  }

  disconnectedCallback() {
    this.#connection?.abort();
    this.#connection = null;
  }

  /** Ask for one update; many changes in a row give one. */
  invalidate() {
    if (this.#queued) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (this.isConnected && this.#built) this.update();
    });
  }

  /** Make the children that stay. Called once. */
  build() {}

  /** Add listeners that end with `signal`. Called each time it enters the document. */
  listen(_signal) {}

  /** Bring the children up to date with the properties. */
  update() {}
}

/** Give `type` properties that ask for an update when they change. */
export function properties(type, defaults) {
  for (const [name, initial] of Object.entries(defaults)) {
    const slot = Symbol(name);
    Object.defineProperty(type.prototype, name, {
      get() {
        return slot in this ? this[slot] : initial;
      },
      set(value) {
        if (Object.is(this[name], value)) return;
        this[slot] = value;
        this.invalidate();
      },
    });
  }
}
