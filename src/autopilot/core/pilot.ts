/**
 * Autopilot's machine. It is told how things are and answers with the one change to make next, or
 * why there is none. A change that was handed out is in flight until it is told how it ended; none
 * other is handed out before. It runs where the group's leader is, and begins anew with each leader.
 */
import { assert } from "../../base/assert.ts";
import { Holds } from "./holds.ts";
import { Memory } from "./memory.ts";
import { plan } from "./plan.ts";
import { membersOf } from "./report.ts";
import { Fate } from "./seat.ts";
import { isHealthy, type Situation, situationOf } from "./situation.ts";
import { majorityOf } from "./quorum.ts";
import type { Change, Evaluation, Inputs, MemberReport, Outcome, Policy } from "./types.ts";

export class Pilot {
  readonly #policy: Policy;
  readonly #memory: Memory;
  readonly #holds = new Holds();
  #inFlight: Change | undefined = undefined;
  #votersChangedMs = -Infinity;
  #nowMs = -Infinity;
  /** Of the change in flight. */
  #inFlightWhy = "";
  #latest: { readonly situation: Situation; readonly change: Change | undefined } | undefined =
    undefined;

  constructor(policy: Policy) {
    assert(policy.voters % 2 === 1, "the number of voters is odd");
    this.#policy = policy;
    this.#memory = new Memory(policy.stallMs);
  }

  get inFlight(): Change | undefined {
    return this.#inFlight;
  }

  /** Takes in how things are, and decides. Times are of a clock that never goes back. */
  evaluate(inputs: Inputs, nowMs: number): Evaluation {
    assert(nowMs >= this.#nowMs, "time does not go back");
    this.#nowMs = nowMs;
    const policy = this.#policy;
    this.#memory.observe(inputs, nowMs);
    this.#holds.tidy(nowMs);
    const situation = situationOf(inputs, {
      memory: this.#memory,
      policy,
      nowMs,
      votersChangedMs: this.#votersChangedMs,
    });
    this.#latest = undefined;
    if (situation === undefined) return this.#nothing(inputs);
    const idle = this.#idleness(situation);
    const { change, why } = idle === undefined
      ? plan(situation, (one) => this.#holds.reason(one, nowMs))
      : { change: undefined, why: idle };
    if (policy.mode === "on" && change !== undefined) {
      this.#inFlight = change;
      this.#inFlightWhy = why;
    }
    this.#latest = { situation, change: this.#inFlight ?? change };
    const { voters } = situation;
    return {
      mode: policy.mode,
      votersWanted: policy.voters,
      voters: voters.length,
      votersHealthy:
        voters.filter(({ member, replica }) =>
          member !== undefined && isHealthy(situation, replica.id)
        ).length,
      change,
      inFlight: this.#inFlight,
      why,
    };
  }

  /** Each member as it was at the last evaluation: made for people, only when they ask. */
  report(): MemberReport[] {
    return this.#latest === undefined ? [] : membersOf(this.#latest.situation, this.#latest.change);
  }

  /** The change in flight ended. */
  ended(outcome: Outcome, nowMs: number): void {
    const change = this.#inFlight;
    assert(change !== undefined, "only a change in flight ends");
    this.#inFlight = undefined;
    if (outcome.kind === "failed") {
      this.#holds.failed(change, outcome.why, nowMs);
      return;
    }
    this.#holds.done(change);
    if (change.kind === "voters") this.#votersChangedMs = nowMs;
  }

  /** This node leads no more: what it knows is of no use to its next term. */
  forget(): void {
    this.#memory.forget();
    this.#holds.clear();
    this.#inFlight = undefined;
    this.#votersChangedMs = -Infinity;
    this.#latest = undefined;
  }

  /** Why nothing is decided now; while a change is in flight, why that is made. */
  #idleness(situation: Situation): string | undefined {
    const { inputs: { view, group }, self, voters } = situation;
    if (this.#policy.mode === "off") return "autopilot is off";
    if (this.#inFlight !== undefined) return this.#inFlightWhy;
    if (!group.hasHeard) return "the leader is new and has not heard of everybody yet";
    if (group.isBusy) return "the group is changing its members or its leader";
    if (view.isDegraded) return "the members are no majority: nobody knows who is there";
    if (self.member === undefined && self.fate === Fate.stays) {
      return "the leader's node is not in the view: nobody knows who is there";
    }
    const healthy = voters.filter(({ replica }) => isHealthy(situation, replica.id)).length;
    if (healthy < majorityOf(voters.length)) {
      return `the leader is in contact with ${healthy} of ${voters.length} voters only`;
    }
    return undefined;
  }

  #nothing({ group: { replicas } }: Inputs): Evaluation {
    return {
      mode: this.#policy.mode,
      votersWanted: this.#policy.voters,
      voters: replicas.filter(({ isVoter }) => isVoter).length,
      votersHealthy: 0,
      change: undefined,
      inFlight: this.#inFlight,
      why: "the leader is no replica of its group any more",
    };
  }
}
