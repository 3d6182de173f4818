/**
 * The default failure detector: each subject is asked once an interval, and has until the next one
 * to answer. A node that stood still itself, be it paused or out of processor time, blames nobody.
 */
import { EdgeWindow } from "./edge_window.ts";
import { isSame, type Member } from "./member.ts";

export interface ProbeOptions {
  readonly intervalMs: number;
  /** Probes that count. */
  readonly window: number;
  /** Of the window: with so many unanswered the edge is failed. */
  readonly fraction: number;
}

export const lanProbes: ProbeOptions = { intervalMs: 1_000, window: 10, fraction: 0.4 };

export interface ProbeVerdict {
  readonly member: Member;
  readonly isHealthy: boolean;
}

interface Edge {
  readonly member: Member;
  readonly window: EdgeWindow;
  nextMs: number;
  /** The number of the probe that is not answered yet; 0 for none. */
  waiting: number;
  isFailed: boolean;
  /** Somebody else answers there: nobody has to wait for this one. */
  isReplaced: boolean;
}

/** A gap between two ticks from which on the time was this node's own. */
const stallIntervals = 2;

export class Prober {
  readonly #options: ProbeOptions;
  readonly #edges = new Map<string, Edge>();
  #sequence = 0;
  #tickedMs: number;
  #verdicts: ProbeVerdict[] = [];

  constructor(options: ProbeOptions, nowMs: number) {
    this.#options = options;
    this.#tickedMs = nowMs;
  }

  /** Whom to watch from now on. What is known of those who stay is kept. */
  watch(subjects: readonly Member[], nowMs: number): void {
    const addresses = new Set(subjects.map(({ address }) => address));
    for (const [address, { member }] of this.#edges) {
      const stays = addresses.has(address) &&
        subjects.some((subject) => isSame(subject, member));
      if (!stays) this.#edges.delete(address);
    }
    const { intervalMs, window, fraction } = this.#options;
    for (const [at, member] of subjects.entries()) {
      if (this.#edges.has(member.address)) continue;
      this.#edges.set(member.address, {
        member,
        window: new EdgeWindow(window, fraction),
        // Spread over the interval.
        nextMs: nowMs + intervalMs * (at + 1) / subjects.length,
        waiting: 0,
        isFailed: false,
        isReplaced: false,
      });
    }
  }

  /** When {@link tick} has something to do. */
  get dueMs(): number {
    let dueMs = Infinity;
    for (const { nextMs } of this.#edges.values()) dueMs = Math.min(dueMs, nextMs);
    return dueMs;
  }

  /** Whom to ask now, and with which number. */
  tick(nowMs: number): readonly { readonly to: string; readonly sequence: number }[] {
    const { intervalMs } = this.#options;
    const isStalled = nowMs - this.#tickedMs >= stallIntervals * intervalMs;
    this.#tickedMs = nowMs;
    const probes: { to: string; sequence: number }[] = [];
    for (const [to, edge] of this.#edges) {
      if (isStalled) edge.waiting = 0;
      if (nowMs < edge.nextMs) continue;
      if (edge.waiting !== 0) this.#record(edge, false);
      edge.nextMs = Math.max(edge.nextMs + intervalMs, nowMs);
      edge.waiting = ++this.#sequence;
      probes.push({ to, sequence: edge.waiting });
    }
    return probes;
  }

  answered(from: string, sequence: number): void {
    const edge = this.#edges.get(from);
    if (edge === undefined || edge.waiting !== sequence) return;
    edge.waiting = 0;
    this.#record(edge, true);
  }

  /** Another stay, or another node, answers at this address. */
  replaced(address: string): void {
    const edge = this.#edges.get(address);
    if (edge === undefined || edge.isReplaced) return;
    edge.isReplaced = true;
    edge.isFailed = true;
    this.#verdicts.push({ member: edge.member, isHealthy: false });
  }

  take(): readonly ProbeVerdict[] {
    if (this.#verdicts.length === 0) return none;
    const verdicts = this.#verdicts;
    this.#verdicts = [];
    return verdicts;
  }

  #record(edge: Edge, isAnswered: boolean): void {
    edge.window.record(isAnswered);
    if (edge.isReplaced || edge.isFailed === edge.window.isFailed) return;
    edge.isFailed = edge.window.isFailed;
    this.#verdicts.push({ member: edge.member, isHealthy: !edge.isFailed });
  }
}

const none: readonly ProbeVerdict[] = [];
