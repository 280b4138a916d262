/**
 * Hold the WebSocket that tells what the home is doing.
 *
 *     connect ─▶ "state" (all of it) ─▶ changes … ─▶ closed ─▶ wait ─▶ connect
 *
 * The wait grows from half a second to fifteen, with jitter, and starts over only after a
 * connection has held for a while. Coming back online, or back to a page that slept,
 * tries at once. Knows nothing of what the messages mean.
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const HELD_MS = 10_000; // a connection that lasted this long clears the history of failures
const SILENT_START_MS = 10_000; // no first message within this: try another connection
const SLEPT_MS = 60_000; // hidden for longer: the connection may be dead without knowing

export class Live extends EventTarget {
  #url;
  #random;
  #socket = null;
  #failures = 0;
  #timer = 0;
  #stop = new AbortController();

  constructor(base = document.baseURI, random = Math.random) {
    super();
    this.#url = new URL("api/live", base);
    this.#url.protocol = this.#url.protocol === "https:" ? "wss:" : "ws:";
    this.#random = random;
  }

  /** Connect and stay connected until `end`. */
  start() {
    const { signal } = this.#stop;
    let hiddenSince = 0;
    addEventListener("online", () => this.retry(), { signal });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) hiddenSince = Date.now();
      else if (Date.now() - hiddenSince > SLEPT_MS) this.retry();
    }, { signal });
    this.#connect();
  }

  /** Drop what there is and connect now. */
  retry() {
    if (this.#stop.signal.aborted) return;
    this.#connect();
  }

  /** Close for good; no event follows. */
  end() {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#drop();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null; // its events are no longer ours
    socket?.close();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#drop();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    let openedAt = 0;
    const impatient = setTimeout(() => socket.close(), SILENT_START_MS);
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.#socket) return;
      clearTimeout(impatient);
      openedAt ||= performance.now();
      this.dispatchEvent(new MessageEvent("message", { data: JSON.parse(data) }));
    });
    socket.addEventListener("close", () => {
      clearTimeout(impatient);
      if (socket !== this.#socket) return;
      if (openedAt && performance.now() - openedAt > HELD_MS) this.#failures = 0;
      this.#lost();
    });
  }

  #lost() {
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#connect(), longest * (0.5 + this.#random()));
    this.dispatchEvent(new Event("lost"));
  }
}
