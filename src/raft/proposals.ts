/**
 * Who waits for a proposal of this node, and how it ends: with the result of its entry, or with an
 * error that says whether it may have happened.
 */
import { Code, CoveyError } from "../base/error.ts";
import { DropReason } from "./core/ready.ts";
import type { LogIndex, Term } from "./core/types.ts";

/** One proposal and who waits for it. */
export interface Proposal<Result> {
  readonly data: Uint8Array;
  readonly deadlineMs: number;
  resolve(result: Result): void;
  reject(error: CoveyError): void;
  /** Nobody waits any more. */
  over: boolean;
  /** Where it is in the log, once it is. */
  index: number;
  term: number;
  /** Lets go of what the waiter holds, when it is over. */
  release?(): void;
}

/** How the end of the wait is told; the last two say that the entry may still be committed. */
export function notProposed(why: string): CoveyError {
  return new CoveyError(Code.unavailable, why, { sent: false });
}

export function outcomeUnknown(why: string): CoveyError {
  return new CoveyError(Code.unavailable, `${why}; it may have been applied`, { sent: true });
}

export function tooLate(proposed: boolean): CoveyError {
  return new CoveyError(
    Code.deadlineExceeded,
    proposed
      ? "the proposal was not committed in time; it may still be"
      : "the time was over before a leader had it; nothing was proposed",
    { sent: proposed },
  );
}

export function noReadInTime(): CoveyError {
  return new CoveyError(
    Code.deadlineExceeded,
    "no majority confirmed the read in time: there is no leader, or it is cut off",
    { sent: false },
  );
}

/** To a caller this is one node that cannot serve; others can. */
export function replicaRemoved(group: string): CoveyError {
  return new CoveyError(
    Code.unavailable,
    `this node's replica of group ${group} was removed: ask another node`,
    { sent: false },
  );
}

export function shuttingDown(): CoveyError {
  return new CoveyError(Code.unavailable, "the node is shutting down", { sent: false });
}

/** No log or no link takes a command of this size. */
export function tooLarge(bytes: number, bytesMax: number): CoveyError {
  return new CoveyError(
    Code.invalidArgument,
    `the command has ${bytes} bytes; at most ${bytesMax} fit into an entry of the log`,
    { sent: false },
  );
}

/** The leader's machine could not apply it: see `Machine.supports`. */
export function unsupported(): CoveyError {
  return new CoveyError(
    Code.unimplemented,
    "the leader is of an older build and cannot apply the command: update that node, or let a newer " +
      "one lead",
    { sent: false },
  );
}

/** The core did not take a change of the configuration. */
export function changeRefused(reason: DropReason): CoveyError {
  switch (reason) {
    case DropReason.changePending:
      return new CoveyError(
        Code.aborted,
        "another change of the configuration is under way: try again",
        { sent: false },
      );
    case DropReason.changeInvalid:
      return new CoveyError(
        Code.failedPrecondition,
        "the change does not fit the configuration",
        { sent: false },
      );
    default:
      return notProposed("the leader takes no changes now");
  }
}

export class Proposals<Result> {
  /** Not in the log yet. */
  #queue: Proposal<Result>[] = [];
  /** In the log, in the order of their indexes. */
  #placed: Proposal<Result>[] = [];
  #head = 0;
  /** No deadline is earlier. */
  #nextDeadlineMs = Infinity;

  get size(): number {
    return this.#queue.length + this.#placed.length - this.#head;
  }

  get hasQueued(): boolean {
    return this.#queue.length > 0;
  }

  add(proposal: Proposal<Result>): void {
    this.#queue.push(proposal);
    if (proposal.deadlineMs < this.#nextDeadlineMs) this.#nextDeadlineMs = proposal.deadlineMs;
  }

  /** The next ones in order, about so many bytes of them; they are no longer queued. */
  take(bytesMax: number): Proposal<Result>[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes < bytesMax)) {
      bytes += this.#queue[count++].data.length;
    }
    const taken = this.#queue.slice(0, count);
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count);
    return taken.some(({ over }) => over) ? taken.filter(({ over }) => !over) : taken;
  }

  /** They came back: the core does not take them now. */
  putBack(proposals: readonly Proposal<Result>[]): void {
    this.#queue = [...proposals, ...this.#queue];
  }

  /** They are in the log, one after the other, the last one at `last`. */
  placed(proposals: readonly Proposal<Result>[], last: LogIndex, term: Term): void {
    let index = last - proposals.length;
    for (const proposal of proposals) {
      proposal.index = ++index;
      proposal.term = term;
      this.#placed.push(proposal);
    }
  }

  /** One that was proposed otherwise is in the log, as the last one. */
  track(proposal: Proposal<Result>, index: LogIndex, term: Term): void {
    if (proposal.deadlineMs < this.#nextDeadlineMs) this.#nextDeadlineMs = proposal.deadlineMs;
    proposal.index = index;
    proposal.term = term;
    this.#placed.push(proposal);
  }

  /**
   * The entry at `index` was applied. The waiter of that entry gets the result, if there is one.
   * Terms never descend in a log, so what waits behind it with an older term will never be in it.
   */
  applied(index: number, term: number, result: Result): void {
    while (this.#head < this.#placed.length) {
      const first = this.#placed[this.#head];
      if (first.index > index && first.term >= term) return;
      this.#head++;
      if (first.index === index && first.term === term) finish(first, result);
      else fail(first, notProposed("another leader's entry took its place"));
      this.#compact();
    }
  }

  /** Everything up to `index` came by a snapshot: what became of ours is not known. */
  skipped(index: number): void {
    // What an earlier term placed further on may stand in front of what a later one placed here.
    const placed = this.#placed.slice(this.#head);
    this.#placed = placed.filter((proposal) => proposal.index > index);
    this.#head = 0;
    for (const proposal of placed) {
      if (proposal.index > index) continue;
      fail(proposal, outcomeUnknown("this node got a snapshot instead of the entry"));
    }
  }

  /** Ends those whose time is over. */
  expire(nowMs: number): void {
    if (nowMs < this.#nextDeadlineMs) return;
    let next = Infinity;
    for (const proposal of this.#queue) {
      if (proposal.over) continue;
      if (proposal.deadlineMs <= nowMs) fail(proposal, tooLate(false));
      else next = Math.min(next, proposal.deadlineMs);
    }
    this.#queue = this.#queue.filter(({ over }) => !over);
    for (let at = this.#head; at < this.#placed.length; at++) {
      const proposal = this.#placed[at];
      if (proposal.over) continue;
      if (proposal.deadlineMs <= nowMs) fail(proposal, tooLate(true));
      else next = Math.min(next, proposal.deadlineMs);
    }
    // Without a quorum their entries may never be applied.
    this.#placed = this.#placed.slice(this.#head).filter(({ over }) => !over);
    this.#head = 0;
    this.#nextDeadlineMs = next;
  }

  /** What is not in the log goes back to who proposed it. */
  failQueued(error: (proposal: Proposal<Result>) => CoveyError): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const proposal of queue) fail(proposal, error(proposal));
  }

  /** Nothing is proposed or applied here any more. */
  close(why: string): void {
    this.failQueued(() => notProposed(why));
    for (let at = this.#head; at < this.#placed.length; at++) {
      fail(this.#placed[at], outcomeUnknown(why));
    }
    this.#placed = [];
    this.#head = 0;
  }

  #compact(): void {
    if (this.#head === this.#placed.length) {
      this.#placed = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#placed.length) {
      this.#placed = this.#placed.slice(this.#head);
      this.#head = 0;
    }
  }
}

function finish<Result>(proposal: Proposal<Result>, result: Result): void {
  if (proposal.over) return;
  proposal.over = true;
  proposal.release?.();
  proposal.resolve(result);
}

function fail<Result>(proposal: Proposal<Result>, error: CoveyError): void {
  if (proposal.over) return;
  proposal.over = true;
  proposal.release?.();
  proposal.reject(error);
}
