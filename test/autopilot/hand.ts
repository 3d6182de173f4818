/** What autopilot's driver stands on, all of it moved by hand. */
import { Code, CoveyError } from "../../src/base/error.ts";
import { type LogFields, type Logger, silentLogger } from "../../src/base/log.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { Autopilot } from "../../src/autopilot/autopilot.ts";
import {
  type Change,
  defaultPolicy,
  type Departure,
  type Group,
  type Policy,
  type Standing,
} from "../../src/autopilot/core/types.ts";
import type { ManagedGroup, VotersChange } from "../../src/autopilot/managed_group.ts";
import { autopilotMetrics } from "../../src/autopilot/metrics.ts";
import type { FeedMember, FeedView, ViewFeed } from "../../src/autopilot/view_feed.ts";
import type { Clock, Subscription, Timer } from "../../src/runtime/port.ts";
import type { CallOptions } from "../../src/ttrpc/service.ts";

export class HandClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly fire: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer {
    const timer = { atMs: this.#nowMs + delayMs, fire: () => callback(argument) };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets time go by; what promises set going in between has its turn. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settled();
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > endMs) break;
      this.#timers.delete(next);
      this.#nowMs = next.atMs;
      next.fire();
      await settled();
    }
    this.#nowMs = endMs;
  }
}

/** All that hangs on promises which are settled has happened. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** One call of the group that has not ended yet. */
export interface Call {
  readonly change: Change;
  readonly options: CallOptions;
  done(): void;
  fail(error: CoveyError): void;
}

export class HandGroup implements ManagedGroup {
  group: Group | undefined = undefined;
  readonly calls: Call[] = [];
  readonly #callbacks = new Set<(leads: boolean) => void>();

  picture(): Group | undefined {
    return this.group;
  }

  lead(group: Group | undefined): void {
    this.group = group;
    for (const callback of this.#callbacks) callback(group !== undefined);
  }

  addLearner(node: { readonly address: string; readonly nodeId: string }, options: CallOptions) {
    const { address, nodeId } = node;
    return this.#call({ kind: "add_learner", address, nodeId, name: "" }, options);
  }

  change(change: VotersChange, options: CallOptions): Promise<void> {
    return this.#call(change, options);
  }

  transfer(to: number, options: CallOptions): Promise<void> {
    return this.#call({ kind: "transfer", to }, options);
  }

  led(callback: (leads: boolean) => void): Subscription {
    this.#callbacks.add(callback);
    if (this.group !== undefined) callback(true);
    return { cancel: () => void this.#callbacks.delete(callback) };
  }

  get observers(): number {
    return this.#callbacks.size;
  }

  #call(change: Change, options: CallOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.calls.push({ change, options, done: resolve, fail: reject });
    });
  }
}

export class HandView implements ViewFeed {
  current: FeedView | undefined = { epoch: 1, members: [] };
  isDegraded = false;
  readonly tags = new Map<string, readonly string[]>();
  readonly departures = new Map<string, Departure>();
  readonly leaving = new Set<string>();
  readonly #callbacks = new Set<() => void>();

  tagsOf({ nodeId }: FeedMember): readonly string[] {
    return this.tags.get(nodeId) ?? [];
  }

  isLeaving({ nodeId }: FeedMember): boolean {
    return this.leaving.has(nodeId);
  }

  departure(nodeId: string): Departure | undefined {
    return this.departures.get(nodeId);
  }

  changed(callback: () => void): Subscription {
    this.#callbacks.add(callback);
    return { cancel: () => void this.#callbacks.delete(callback) };
  }

  get observers(): number {
    return this.#callbacks.size;
  }

  /** The view is these. */
  show(...names: readonly string[]): void {
    this.current = { epoch: (this.current?.epoch ?? 0) + 1, members: names.map(memberOf) };
    for (const callback of this.#callbacks) callback();
  }
}

export function memberOf(name: string): FeedMember {
  const address = `tcp://${name}:7946`;
  return { address, nodeId: `id-${name}`, incarnation: 1n, name, role: 0 };
}

/** A group whose replicas are all well, the first of them leading. */
export function groupOf(voters: readonly string[], learners: readonly string[] = []): Group {
  return {
    self: 1,
    lastIndex: 100,
    committed: 100,
    hasHeard: true,
    isBusy: false,
    replicas: [...voters, ...learners].map((name, at) => ({
      id: at + 1,
      nodeId: `id-${name}`,
      name,
      address: `tcp://${name}:7946`,
      isVoter: at < voters.length,
      match: 100,
      inContact: true,
      inSnapshot: false,
      hasRoom: true,
    })),
  };
}

export class Hand {
  readonly clock = new HandClock();
  readonly group = new HandGroup();
  readonly view = new HandView();
  readonly registry = new MetricsRegistry();
  readonly lines: { readonly message: string; readonly fields: LogFields }[] = [];
  readonly standings = new Map<string, Standing | CoveyError>();
  readonly asked: string[] = [];
  readonly autopilot: Autopilot;

  constructor(policy: Partial<Policy> = {}) {
    const say = (message: string, fields: LogFields = {}): void => {
      this.lines.push({ message, fields });
    };
    const logger: Logger = { ...silentLogger, info: say, warning: say, error: say };
    this.autopilot = new Autopilot({
      clock: this.clock,
      logger,
      metrics: this.registry.declare(autopilotMetrics),
      asksLimited: () => this.registry.limit("autopilot_asks").value++,
      policy: { ...defaultPolicy, ...policy },
      group: this.group,
      view: this.view,
      ask: ({ nodeId }, signal) => {
        this.asked.push(nodeId);
        const answer = this.standings.get(nodeId);
        if (answer === undefined) {
          return new Promise((_, reject) => {
            const late = new CoveyError(Code.canceled, "it was given up");
            signal.addEventListener("abort", () => reject(late));
          });
        }
        return answer instanceof CoveyError ? Promise.reject(answer) : Promise.resolve(answer);
      },
    });
  }

  metric(name: string): string | undefined {
    return this.registry.expose("prometheus").split("\n")
      .find((line) => line.startsWith(`${name} `))?.split(" ")[1];
  }
}
