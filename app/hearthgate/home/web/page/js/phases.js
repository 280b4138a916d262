/**
 * How far an exposure has come, as the page tells it (model.Phase of the home).
 */

/** The steps of switching on, in order. */
export const STEPS = [
  { phase: "checking_dns", text: "step.checking_dns" },
  { phase: "ordering", text: "step.ordering" },
  { phase: "proving", text: "step.proving" },
  { phase: "switching_on", text: "step.switching_on" },
];

/** Index of the current step; -1: the exposure is not on its way. */
export function stepOf(exposure) {
  return STEPS.findIndex(({ phase }) => phase === exposure?.status.phase);
}

/** True while the home is busy with it. */
export function isWorking(exposure) {
  return stepOf(exposure) >= 0 || exposure?.status.phase === "switching_off";
}

export function isLive(exposure) {
  return exposure?.status.phase === "live";
}
