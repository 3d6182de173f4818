/** A limit for a stop that pauses of its process do not break. */
import type { Clock, Timer } from "../../src/runtime/port.ts";

/** Time is counted in steps: of a pause no more than one of them counts. */
const stepMs = 20;

export interface StopLimit {
  cancel(): void;
}

/** Calls back when a stop takes longer than this, apart from what its process was paused. */
export function limitStop(clock: Clock, boundMs: number, exceeded: () => void): StopLimit {
  let steps = Math.ceil(boundMs / stepMs);
  let timer: Timer;
  const step = (): void => {
    timer = clock.timer(stepMs, () => {
      if (--steps > 0) step();
      else exceeded();
    }, undefined);
  };
  step();
  return { cancel: () => timer.cancel() };
}
