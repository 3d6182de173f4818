/** What this node thinks of those whom it observes, from one configuration to the next. */
import type { Configuration } from "./configuration.ts";
import type { Member } from "./member.ts";

export type VerdictKind = "failing" | "leaving" | "healthy";

interface Verdict {
  readonly member: Member;
  kind: VerdictKind;
  sinceMs: number;
  /** It does not answer, whatever else is to be said of it. */
  isSilent: boolean;
}

export class Verdicts {
  readonly #verdicts = new Map<string, Verdict>();

  /** Of this stay of a member; undefined while there was never anything to say of it. */
  of({ address, incarnation }: Member): VerdictKind | undefined {
    const verdict = this.#verdicts.get(address);
    return verdict?.member.incarnation === incarnation ? verdict.kind : undefined;
  }

  set(member: Member, kind: VerdictKind, nowMs: number): void {
    const isSilent = kind === "failing";
    this.#verdicts.set(member.address, { member, kind, sinceMs: nowMs, isSilent });
  }

  /** Of one that leaves: whether it is still there. */
  hears({ address }: Member, isHealthy: boolean): void {
    const verdict = this.#verdicts.get(address);
    if (verdict !== undefined) verdict.isSilent = !isHealthy;
  }

  /** Those that are still members and do not answer. */
  *silent(configuration: Configuration): Generator<Member> {
    for (const { member, isSilent } of this.#verdicts.values()) {
      if (isSilent && configuration.holds(member)) yield member;
    }
  }

  /** Those that are still members, and what is to be said of them. */
  *held(configuration: Configuration): Generator<readonly [Member, VerdictKind]> {
    for (const { member, kind } of this.#verdicts.values()) {
      if (configuration.holds(member)) yield [member, kind];
    }
  }

  /** Forgets all but those whom the failure detector goes on watching. */
  keep(watched: (member: Member) => boolean): void {
    for (const [address, { member }] of this.#verdicts) {
      if (!watched(member)) this.#verdicts.delete(address);
    }
  }

  /** Takes out those that have answered for so long. */
  takeAged(nowMs: number, ageMs: number): readonly Member[] {
    const aged: Member[] = [];
    for (const [address, { member, kind, sinceMs }] of this.#verdicts) {
      if (kind !== "healthy" || nowMs < sinceMs + ageMs) continue;
      this.#verdicts.delete(address);
      aged.push(member);
    }
    return aged;
  }

  /** When {@link takeAged} has something to take. */
  dueMs(ageMs: number): number {
    let dueMs = Infinity;
    for (const { kind, sinceMs } of this.#verdicts.values()) {
      if (kind === "healthy") dueMs = Math.min(dueMs, sinceMs + ageMs);
    }
    return dueMs;
  }

  get size(): number {
    return this.#verdicts.size;
  }
}
