/**
 * What follows when the machine of a leader answers that its process is gone. Nobody has to wait for
 * what will not come; a little chance keeps the others from campaigning in the same moment.
 */
import type { Prng } from "../base/prng.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { GroupOfAny } from "./group_types.ts";

export class Bereavement {
  readonly #clock: Clock;
  readonly #random: Prng;
  /** Of the groups that are about to campaign. */
  readonly #timers = new Map<GroupOfAny, Timer>();

  constructor(clock: Clock, random: Prng) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The leader of this group is gone; it campaigns within this time, unless there is a new one. */
  leaderIsGone(group: GroupOfAny, withinMs: number): void {
    group.leaderIsGone();
    if (this.#timers.has(group)) return;
    const waitMs = this.#random.between(0, Math.ceil(withinMs));
    this.#timers.set(
      group,
      this.#clock.timer(waitMs, () => {
        this.#timers.delete(group);
        group.campaign();
      }, undefined),
    );
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }
}
