/**
 * Linearizable reads (section 6.4). A leader collects requests; all that came before a `Ready` share
 * one round. A round is a number that goes out with a heartbeat to the voters and comes back; the
 * quorum's acknowledged round is computed exactly like the quorum's acknowledged index. Rounds are
 * never used twice in a replica's life, so a late answer confirms only what it was asked.
 */
import type { ReadReady } from "./ready.ts";
import type { LogIndex, ReplicaId } from "./types.ts";

const none: readonly number[] = [];

export interface ReadRequest {
  /** Who asked: this replica or a follower. */
  readonly from: ReplicaId;
  /** The asker's own number. */
  readonly request: number;
}

export interface Round {
  readonly round: number;
  readonly sentTick: number;
  readonly index: LogIndex;
  readonly requests: readonly ReadRequest[];
}

/** A read whose index is known, and who asked for it. */
export interface AnsweredRead extends ReadReady {
  readonly from: ReplicaId;
}

export class Reads {
  #round = 0;
  #rounds: Round[] = [];
  /** Waiting for the next round, or for this leader's first commit. */
  #open: ReadRequest[] = [];
  #count = 0;
  /** The tick at which the newest confirmed round was sent; -1 when there is none. */
  #confirmedTick = -1;
  /** Requests that were sent on to the leader, with the tick until which it may answer. */
  readonly #forwarded = new Map<number, number>();

  /** The newest round. */
  get round(): number {
    return this.#round;
  }

  /** Requests that wait here. */
  get count(): number {
    return this.#count + this.#forwarded.size;
  }

  get hasOpen(): boolean {
    return this.#open.length > 0;
  }

  /** The tick at which the newest round went out that a quorum has answered; -1 for none. */
  get confirmedTick(): number {
    return this.#confirmedTick;
  }

  add(request: ReadRequest): void {
    this.#open.push(request);
    this.#count++;
  }

  /** A new round, whose number goes out with heartbeats now. Its requests were open. */
  begin(round: Omit<Round, "round">): number {
    this.#rounds.push({ ...round, round: ++this.#round });
    return this.#round;
  }

  /** The open requests, which join a round or are answered; they still count as waiting. */
  takeOpenRequests(): readonly ReadRequest[] {
    const open = this.#open;
    this.#open = [];
    return open;
  }

  /** Answers the open requests without a round: this leader is known to be the only one. */
  takeOpen(index: LogIndex): AnsweredRead[] {
    const answers = this.takeOpenRequests().map((request) => ({ ...request, index }));
    this.#count -= answers.length;
    return answers;
  }

  /** The quorum has answered everything up to this round. */
  confirm(round: number): AnsweredRead[] {
    const answers: AnsweredRead[] = [];
    let done = 0;
    while (done < this.#rounds.length && this.#rounds[done].round <= round) {
      const { index, requests, sentTick } = this.#rounds[done++];
      this.#confirmedTick = sentTick;
      for (const { from, request } of requests) answers.push({ from, request, index });
    }
    if (done > 0) this.#rounds = this.#rounds.slice(done);
    this.#count -= answers.length;
    return answers;
  }

  /** The lease is void: no round that went out so far prolongs it. Waiting reads keep waiting. */
  forgetLease(): void {
    this.#confirmedTick = -1;
    this.#rounds = this.#rounds.map((round) => ({ ...round, sentTick: -1 }));
  }

  forward(request: number, untilTick: number): void {
    this.#forwarded.set(request, untilTick);
  }

  /** The leader answered. False when nobody waits for that any more. */
  answered(request: number): boolean {
    return this.#forwarded.delete(request);
  }

  /** Forwarded requests that the leader did not answer in time. */
  takeOverdue(tick: number): readonly number[] {
    if (this.#forwarded.size === 0) return none;
    const overdue: number[] = [];
    for (const [request, untilTick] of this.#forwarded) {
      // They were added in the order of their deadlines.
      if (untilTick > tick) break;
      overdue.push(request);
    }
    for (const request of overdue) this.#forwarded.delete(request);
    return overdue;
  }

  /** Another leader or none: whoever asked here has to ask again. Followers notice by themselves. */
  clear(self: ReplicaId): number[] {
    const own = [...this.#forwarded.keys()];
    for (const { requests } of [...this.#rounds, { requests: this.#open }]) {
      for (const { from, request } of requests) if (from === self) own.push(request);
    }
    this.#rounds = [];
    this.#open = [];
    this.#count = 0;
    this.#confirmedTick = -1;
    this.#forwarded.clear();
    return own;
  }
}
