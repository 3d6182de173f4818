/**
 * Streams whose reader does not keep up, on a connection without credits (docs/decisions/0003).
 *
 * A stream whose inbox went over its limit is a suspect. When the chunk ends it is judged: the
 * first time it gets the benefit of the doubt, since its reader had no turn yet; the second time it
 * fails, unless its reader took something just now. Then the connection stops reading until the
 * inbox is half empty, or until the reader has taken nothing for `streamStallMs`.
 */
import type { Call, Flow } from "./call.ts";
import type { ConnectionLimits } from "./limits.ts";

/** A time of taking that was not asked for: some time before the present event. */
export const unmeasuredMs = Infinity;

/** Whether an inbox holds more than its limit; with credits the peer bounds it, in bytes. */
export function isOverfull(flow: Flow, limits: ConnectionLimits, credited: boolean): boolean {
  // A credited peer may overdraw its window by the one message that was larger than the rest.
  const slack = credited ? limits.messageBytesMax : 0;
  return flow.inboxBytes > limits.streamQueueBytesMax + slack ||
    (!credited && flow.inbox.length > limits.streamQueueMessagesMax);
}

/** The stream with the most unread bytes: who reads must not pay for who does not. */
export function fullest<C extends Call>(calls: Iterable<C>, from: C): C {
  let most = from;
  for (const call of calls) {
    if (call.flow !== undefined && call.flow.inboxBytes > most.flow!.inboxBytes) most = call;
  }
  return most;
}

export class OverfullStreams<C extends Call> {
  readonly #limits: ConnectionLimits;
  /** Suspects of the present chunk. */
  #suspects: C[] = [];
  /** Streams for which reading is paused. */
  readonly #stalled: Set<C> = new Set();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** The connection should not read now. */
  get pauses(): boolean {
    return this.#stalled.size > 0;
  }

  /** When {@link overdue} has something to say; Infinity when never. */
  get nextMs(): number {
    let next = Infinity;
    for (const call of this.#stalled) {
      const until = call.flow!.lastTakeMs + this.#limits.streamStallMs;
      if (until < next) next = until;
    }
    return next;
  }

  suspect(call: C): void {
    call.flow!.overfull = true;
    this.#suspects.push(call);
  }

  /** A chunk has been read; returns the streams that must fail. */
  judge(nowMs: number, credited: boolean): C[] {
    const suspects = this.#suspects;
    if (suspects.length === 0) return suspects;
    this.#suspects = [];
    const failing: C[] = [];
    for (const call of suspects) {
      const flow = call.flow!;
      if (call.over) continue;
      // The reader was active, nobody knows when: it gets one whole stall from now.
      if (flow.lastTakeMs === unmeasuredMs) flow.lastTakeMs = nowMs;
      if (!isOverfull(flow, this.#limits, credited)) {
        flow.overfull = false;
        flow.overfullBefore = false;
      } else if (!flow.overfullBefore) {
        flow.overfullBefore = true;
        this.#suspects.push(call);
      } else if (flow.lastTakeMs + this.#limits.streamStallMs > nowMs) {
        this.#stalled.add(call);
      } else {
        failing.push(call);
      }
    }
    return failing;
  }

  /** Streams that have held up the connection for too long. */
  overdue(nowMs: number): C[] {
    const failing: C[] = [];
    for (const call of this.#stalled) {
      if (call.flow!.lastTakeMs + this.#limits.streamStallMs <= nowMs) failing.push(call);
    }
    return failing;
  }

  /** A message was taken: half an empty inbox ends the pause. */
  took(call: C, flow: Flow): void {
    if (
      flow.inboxBytes * 2 <= this.#limits.streamQueueBytesMax &&
      flow.inbox.length * 2 <= this.#limits.streamQueueMessagesMax
    ) this.forget(call, flow);
  }

  /** The connection need not wait for this stream any more. */
  forget(call: C, flow: Flow): void {
    if (!this.#stalled.delete(call)) return;
    flow.overfull = false;
    flow.overfullBefore = false;
  }
}
