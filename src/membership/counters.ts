/** What a node's membership has counted since it started, whatever its stays. */
import type { Dropped } from "./core/membership.ts";

export class MembersCounters {
  /** Links to other members that are up now. */
  linksUp: () => number = () => 0;
  probesSent = 0;
  /** Answers to them, whether in time or not. */
  probesAnswered = 0;
  /** Frames that were no message. */
  framesInvalid = 0;
  /** Of stays that are over. */
  readonly #before: Dropped = { strangers: 0, forks: 0, invalid: 0 };
  #present: Dropped = { strangers: 0, forks: 0, invalid: 0 };

  /** Another stay begins, which counts by itself what it drops. */
  begin(dropped: Dropped): void {
    Object.assign(this.#before, this.dropped);
    this.#present = dropped;
  }

  /** Messages that were dropped, since they came from where they could not come from. */
  get dropped(): Readonly<Dropped> {
    const before = this.#before;
    const present = this.#present;
    return {
      strangers: before.strangers + present.strangers,
      forks: before.forks + present.forks,
      invalid: before.invalid + present.invalid,
    };
  }
}
