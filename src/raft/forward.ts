/** A proposal at the node that leads (decision 10). */
import { Code, CoveyError } from "../base/error.ts";
import type { Forwarded, GroupHost, RequestOptions } from "./group_types.ts";
import type { Peer } from "./peer.ts";
import { outcomeUnknown, tooLate } from "./proposals.ts";

export interface ForwardedProposal {
  readonly clusterId: string;
  readonly group: number;
  readonly data: Uint8Array;
}

/** One forwarded proposal. */
export interface ForwardedCall {
  /** Ends the call. */
  readonly signal: AbortSignal;
  /** It was ended because somebody else leads. */
  readonly isStale: boolean;
  end(): void;
}

type ForwardHost = Pick<GroupHost, "clock" | "options" | "silentMs">;

/**
 * A leader of which nothing was heard for some heartbeats: what is sent to it may lie there until
 * somebody else leads.
 */
export function isSilent(host: ForwardHost, leader: string, electionMs: number): boolean {
  return host.silentMs(leader) >= Math.max(3 * host.options.heartbeatMs, electionMs / 2);
}

/**
 * Those that are under way from here. A leader that was replaced may still answer, because it
 * applies what its successor commits; one that is cut off or paused never will, and who waits for it
 * is told as soon as another one leads.
 */
export class ForwardedProposals {
  readonly #calls = new Set<Call>();

  begin(leader: string, signal: AbortSignal | undefined): ForwardedCall {
    const call = new Call(leader, signal, () => this.#calls.delete(call));
    this.#calls.add(call);
    return call;
  }

  /** A tick: ends those whose node does not lead any more, after this time if it was heard of. */
  tick(leader: string | undefined, graceMs: number, host: ForwardHost): void {
    if (this.#calls.size === 0) return;
    for (const call of [...this.#calls]) call.tick(leader, graceMs, host);
  }
}

class Call implements ForwardedCall {
  readonly #leader: string;
  readonly #controller = new AbortController();
  readonly #asked: AbortSignal | undefined;
  readonly #ended: () => void;
  #replacedMs = Infinity;
  isStale = false;

  constructor(leader: string, asked: AbortSignal | undefined, ended: () => void) {
    this.#leader = leader;
    this.#asked = asked;
    this.#ended = ended;
    // It may have fired since it was looked at.
    if (asked?.aborted) this.#controller.abort();
    else asked?.addEventListener("abort", this.#abort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    this.#asked?.removeEventListener("abort", this.#abort);
    this.#ended();
  }

  tick(leader: string | undefined, graceMs: number, host: ForwardHost): void {
    if (leader === undefined || leader === this.#leader) {
      this.#replacedMs = Infinity;
      return;
    }
    const nowMs = host.clock.monotonicMs();
    // A leader that hands over was heard of until then.
    if (this.#replacedMs === Infinity && isSilent(host, this.#leader, graceMs)) {
      this.#replacedMs = -Infinity;
    }
    this.#replacedMs = Math.min(this.#replacedMs, nowMs);
    if (nowMs - this.#replacedMs < graceMs) return;
    this.isStale = true;
    this.#controller.abort();
  }

  readonly #abort = (): void => this.#controller.abort();
}

/** Rejects when it may have been proposed and what became of it is not known. */
export async function forward(
  peer: Peer,
  proposal: ForwardedProposal,
  options: RequestOptions,
): Promise<Forwarded> {
  try {
    const { result, refused, retry } = await peer.client("data").propose(
      proposal,
      { timeoutMs: options.timeoutMs, signal: options.signal },
    );
    return refused === ""
      ? { kind: "result", bytes: result }
      : { kind: "refused", why: refused, retry };
  } catch (error) {
    const failure = CoveyError.from(error);
    if (failure.sent === false) return { kind: "refused", why: failure.rawMessage, retry: true };
    // The leader does not take or know such a command, or no proposals at all: it is in no log.
    if (failure.code === Code.unimplemented || failure.code === Code.invalidArgument) {
      throw new CoveyError(failure.code, failure.rawMessage, { sent: false, cause: failure });
    }
    if (failure.code === Code.deadlineExceeded) throw tooLate(true);
    if (failure.code === Code.canceled && options.signal?.aborted) throw failure;
    throw outcomeUnknown(`the leader was lost: ${failure.rawMessage}`);
  }
}
