/**
 * What the home last said, in one place.
 *
 *     live ── apply(message) ──▶ store ── "change" ──▶ hg-app ──▶ every element
 *
 * Messages replace whole relays and services, never parts of them. An API answer counts
 * only if nothing newer about the same thing came over the WebSocket since it was asked.
 */

export const HASS = "hass"; // as the id of what there is one of

export class Store extends EventTarget {
  home = null;
  hass = null; // what is known of Home Assistant; null: we are no add-on of it
  relays = new Map();
  services = new Map();
  connected = false;
  loaded = false;
  #revisions = new Map();

  /** Take one message of `api/live`. Unknown types are left alone: the home may be newer. */
  apply(message) {
    const take = {
      state: () => this.#takeAll(message.state),
      service: () => this.#put(this.services, message.service),
      service_removed: () => this.#remove(this.services, message.id),
      relay: () => this.#put(this.relays, message.relay),
      relay_removed: () => this.#remove(this.relays, message.id),
      hass: () => this.#takeHass(message.hass),
      home: () => { this.home = message.home; },
    }[message.type];
    if (!take) return;
    take();
    this.#changed();
  }

  lost() {
    this.connected = false;
    this.#changed();
  }

  /** Forget everything, as after logging out. */
  clear() {
    this.home = null;
    this.hass = null;
    this.relays = new Map();
    this.services = new Map();
    this.connected = false;
    this.loaded = false;
    this.#changed();
  }

  /** Run `ask` and take its answer, unless the WebSocket has overtaken it. */
  async settle(type, id, ask) {
    const before = this.#revisions.get(id);
    const answer = await ask();
    const current = answer?.id ?? id;
    if (this.#revisions.get(current) === before) {
      if (answer) this.apply({ type, [type]: answer });
      else this.apply({ type: `${type}_removed`, id });
    }
    return answer;
  }

  #takeAll(state) {
    this.home = state.home;
    this.#takeHass(state.hass ?? null);
    this.relays = new Map(state.relays.map((relay) => [relay.id, relay]));
    this.services = new Map(state.services.map((service) => [service.id, service]));
    for (const id of [...this.relays.keys(), ...this.services.keys()]) this.#touch(id);
    this.connected = true;
    this.loaded = true;
  }

  #takeHass(hass) {
    this.hass = hass;
    this.#touch(HASS);
  }

  #put(things, thing) {
    things.set(thing.id, thing);
    this.#touch(thing.id);
  }

  #remove(things, id) {
    things.delete(id);
    this.#touch(id);
  }

  #touch(id) {
    this.#revisions.set(id, (this.#revisions.get(id) ?? 0) + 1);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
