/**
 * The way back of a node that was taken out of the view: when it may ask to be let in again, and
 * whether it is well enough connected for that. See the core's {@link Comeback}.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Prng } from "../base/prng.ts";
import { Membership } from "../gen/covey/membership/v1/membership_pb.ts";
import type { Clock } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { Comeback, type ComebackTimes } from "./core/comeback.ts";

export interface WayBackParts {
  readonly clock: Clock;
  readonly prng: Prng;
  readonly times: ComebackTimes;
  channel(address: string): Channel;
  /** Something is due at another time now. */
  changed(): void;
}

export class WayBack {
  readonly #parts: WayBackParts;
  readonly #comeback: Comeback;
  #known: readonly string[] = [];
  #isClosed = false;

  constructor(parts: WayBackParts) {
    this.#parts = parts;
    this.#comeback = new Comeback(parts.times, parts.prng, parts.clock.monotonicMs());
  }

  get dueMs(): number {
    return this.#comeback.dueMs;
  }

  /** Why it does not ask to be let in yet; undefined when it may. */
  get problem(): string | undefined {
    switch (this.#comeback.phase) {
      case "pausing": {
        const leftMs = this.#comeback.dueMs - this.#parts.clock.monotonicMs();
        const seconds = Math.max(0, Math.ceil(leftMs / 1_000));
        return `the others have taken this node out more than once: it asks again in ${seconds} s`;
      }
      case "trying":
        return "this node tries whether the others answer it before it asks to be let in again";
      default:
        return undefined;
    }
  }

  /** It is a member. */
  joined(): void {
    this.#comeback.joined(this.#parts.clock.monotonicMs());
  }

  /** `others`: addresses of those who were members with it. */
  evicted(others: readonly string[]): void {
    this.#known = others;
    this.#comeback.evicted(others, this.#parts.clock.monotonicMs());
  }

  /** Gives whom to ask once it may ask: those who were members with it. */
  tick(nowMs: number): readonly string[] | undefined {
    if (this.#isClosed) return undefined;
    this.#comeback.tick(nowMs);
    for (const address of this.#comeback.take()) void this.#ask(address);
    return this.#comeback.phase === "ready" ? this.#known : undefined;
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Any answer will do, a refusal too: an empty question is refused by whoever is there. */
  async #ask(address: string): Promise<void> {
    const { times, channel, changed } = this.#parts;
    try {
      using way = channel(address);
      await createClient(Membership, way).who({}, { timeoutMs: times.answerMs });
    } catch (error) {
      const { code } = CoveyError.from(error);
      if (code !== Code.invalidArgument && code !== Code.failedPrecondition) return;
    }
    if (this.#isClosed) return;
    this.#comeback.answered(address);
    changed();
  }
}
