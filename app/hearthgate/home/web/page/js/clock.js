/**
 * One timer for everything that counts down.
 *
 * It runs only while somebody listens and the page is visible.
 */

const TICK_MS = 1000;
const listeners = new Set();
let timer = 0;

function beat() {
  for (const listener of listeners) listener();
}

function adjust() {
  const wanted = listeners.size > 0 && !document.hidden;
  if (wanted && !timer) timer = setInterval(beat, TICK_MS);
  if (!wanted && timer) {
    clearInterval(timer);
    timer = 0;
  }
}

document.addEventListener("visibilitychange", () => {
  adjust();
  if (!document.hidden) beat();
});

/** Call `listener` every second until `signal` aborts. */
export function everySecond(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => {
    listeners.delete(listener);
    adjust();
  });
  adjust();
}
