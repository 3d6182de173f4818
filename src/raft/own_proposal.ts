/**
 * A proposal of this node's users and its way back. There is one for every write: it is one object,
 * which is also what listens to the caller's signal, and has no closures of its own.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { RequestOptions } from "./group_types.ts";
import type { Proposal } from "./proposals.ts";

export interface ProposalOwner<Result> {
  /** It ended well; for the metric. */
  committed(proposal: OwnProposal<Result>): void;
  /** It ended otherwise here: says so to who waits, or tries it elsewhere. */
  failed(proposal: OwnProposal<Result>, error: CoveyError): void;
}

export interface ProposalWait<Result> {
  readonly options: RequestOptions;
  /** When nothing was proposed here, it may be at another node. */
  readonly isMovable: boolean;
  /** By the monotonic clock, if this one's time is measured. */
  readonly sinceMs: number | undefined;
  readonly settle: (result: Result | Promise<Result>) => void;
  readonly settleFailed: (error: CoveyError) => void;
}

export class OwnProposal<Result> implements Proposal<Result> {
  readonly data: Uint8Array;
  readonly deadlineMs: number;
  readonly wait: ProposalWait<Result>;
  over = false;
  index = 0;
  term = 0;
  readonly #owner: ProposalOwner<Result>;

  constructor(
    data: Uint8Array,
    deadlineMs: number,
    wait: ProposalWait<Result>,
    owner: ProposalOwner<Result>,
  ) {
    this.data = data;
    this.deadlineMs = deadlineMs;
    this.wait = wait;
    this.#owner = owner;
    wait.options.signal?.addEventListener("abort", this);
  }

  resolve(result: Result): void {
    this.#owner.committed(this);
    this.wait.settle(result);
  }

  reject(error: CoveyError): void {
    this.#owner.failed(this, error);
  }

  release(): void {
    this.wait.options.signal?.removeEventListener("abort", this);
  }

  /** The signal fires; public only for the signal. */
  handleEvent(): void {
    if (this.over) return;
    this.over = true;
    this.release();
    this.reject(new CoveyError(Code.canceled, "the request was canceled"));
  }
}
