/** How many calls of services may run over HTTP at a time, whichever route makes them. */
import { Code } from "../base/error.ts";
import type { Counter, Gauge } from "../base/metrics.ts";
import { HttpError } from "./error.ts";

export interface CallSlotsParts {
  readonly callsMax: number;
  readonly active: Gauge;
  /** Counts calls that found no place. */
  readonly limitHit: Counter;
}

export class CallSlots {
  readonly #parts: CallSlotsParts;

  constructor(parts: CallSlotsParts) {
    this.#parts = parts;
  }

  /** Takes a place; throws when there is none. What it returns gives it back, once. */
  take(): () => void {
    const { callsMax, active, limitHit } = this.#parts;
    if (active.value >= callsMax) {
      limitHit.value++;
      throw new HttpError(
        429,
        Code.resourceExhausted,
        `${callsMax} calls over HTTP run already`,
        { hint: "try again", headers: { "retry-after": "1" } },
      );
    }
    active.value++;
    let over = false;
    return () => {
      if (!over) active.value--;
      over = true;
    };
  }
}
