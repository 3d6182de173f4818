/** A small cluster that a test plays by hand: messages in order, links that can be cut, ticks. */
import assert from "node:assert/strict";
import { encodeText } from "../../../../src/base/bytes.ts";
import { Prng } from "../../../../src/base/prng.ts";
import { emptyConfiguration, makeConfiguration } from "../../../../src/raft/core/configuration.ts";
import type { Options } from "../../../../src/raft/core/options.ts";
import type { ProposeResult } from "../../../../src/raft/core/proposals.ts";
import {
  type ConfigurationChange,
  type LogIndex,
  type Message,
  MessageType,
  type SingleChange,
  Transition,
} from "../../../../src/raft/core/types.ts";
import { Host, type MachineState } from "./host.ts";
import { Invariants } from "./invariants.ts";

export interface ClusterOptions {
  readonly voters?: readonly number[];
  readonly learners?: readonly number[];
  readonly options?: Partial<Options>;
  readonly seed?: number;
}

export class Cluster {
  readonly invariants = new Invariants();
  readonly hosts = new Map<number, Host>();
  readonly snapshots = new Map<number, MachineState>();
  readonly random: Prng;
  readonly #options: Partial<Options>;
  /** In the order in which they were sent. */
  queue: Message[] = [];
  /** Taken out of the queue by {@link hold}. */
  held: Message[] = [];
  readonly #cut = new Set<string>();
  readonly #slow = new Set<number>();
  #hold: (message: Message) => boolean = () => false;

  constructor({ voters = [1, 2, 3], learners = [], options = {}, seed = 1 }: ClusterOptions = {}) {
    this.random = new Prng(seed);
    this.#options = options;
    this.invariants.deliver = (message) => this.queue.push(message);
    const configuration = makeConfiguration(voters, learners);
    for (const id of [...voters, ...learners]) this.#add(id, configuration);
  }

  #add(id: number, configuration: typeof emptyConfiguration): Host {
    const host = new Host(id, configuration, {
      options: this.#options,
      observer: this.invariants,
      snapshots: this.snapshots,
      random: this.random.fork(),
    });
    this.hosts.set(id, host);
    return host;
  }

  /** A replica that knows nothing yet. */
  join(id: number): Host {
    return this.#add(id, emptyConfiguration);
  }

  host(id: number): Host {
    return this.hosts.get(id)!;
  }

  /** Nothing gets from one to the other. */
  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  isolate(...ids: number[]): void {
    for (const one of this.hosts.keys()) {
      for (const id of ids) {
        if (ids.includes(one)) continue;
        this.cut(one, id);
        this.cut(id, one);
      }
    }
  }

  heal(): void {
    this.#cut.clear();
    this.#hold = () => false;
  }

  /** These messages are kept in `held` from now on. */
  hold(which: (message: Message) => boolean): void {
    this.#hold = which;
  }

  release(): void {
    this.#hold = () => false;
    this.queue.push(...this.held.splice(0));
  }

  /** This disk stops; {@link resumeDisk} lets it go on. */
  stallDisk(id: number): void {
    this.#slow.add(id);
  }

  resumeDisk(id: number): void {
    this.#slow.delete(id);
  }

  /** Runs disks, machines and messages until nothing is left to do. */
  settle(): void {
    for (let turn = 0; turn < 100_000; turn++) {
      let busy = false;
      for (const host of this.hosts.values()) {
        if (!host.isUp) continue;
        host.collect();
        if (host.writes.length > 0 && !this.#slow.has(host.id)) {
          host.completeWrites(host.writes.length);
          busy = true;
        }
        if (host.work.length > 0) {
          host.applyWork();
          busy = true;
        }
      }
      if (this.deliverNext()) busy = true;
      if (!busy) return;
    }
    assert.fail("the cluster does not come to rest");
  }

  /** One message; false when there is none. */
  deliverNext(): boolean {
    const message = this.queue.shift();
    if (message === undefined) return false;
    const to = this.hosts.get(message.to);
    const sender = this.hosts.get(message.from);
    const lost = this.#cut.has(`${message.from}>${message.to}`) || to === undefined || !to.isUp;
    if (!lost && this.#hold(message)) {
      this.held.push(message);
      return true;
    }
    if (message.type === MessageType.snapshot && sender !== undefined && sender.isUp) {
      sender.node.snapshotSent(message.to, !lost);
    }
    if (lost) return true;
    to.node.step(message);
    to.collect();
    return true;
  }

  tick(count = 1, ...ids: number[]): void {
    for (let at = 0; at < count; at++) {
      for (const host of this.hosts.values()) {
        if (!host.isUp || (ids.length > 0 && !ids.includes(host.id))) continue;
        host.node.tick();
        host.collect();
      }
      this.settle();
    }
  }

  /** Campaigns there, and expects it to win. */
  elect(id: number): Host {
    const host = this.host(id);
    host.node.campaign();
    host.collect();
    this.settle();
    assert.equal(host.status.role, "leader", `replica ${id} leads`);
    return host;
  }

  /** Ticks until somebody leads whom a majority follows. */
  waitForLeader(ticksMax = 200): Host {
    for (let at = 0; at < ticksMax; at++) {
      const leader = this.leader();
      if (leader !== undefined) return leader;
      this.tick();
    }
    return assert.fail("nobody leads");
  }

  /** The leader of the newest term. */
  leader(): Host | undefined {
    let found: Host | undefined;
    for (const host of this.hosts.values()) {
      if (!host.isUp || host.status.role !== "leader") continue;
      if (found === undefined || host.status.term > found.status.term) found = host;
    }
    return found;
  }

  propose(id: number, text: string): ProposeResult {
    const host = this.host(id);
    const result = host.node.propose([encodeText(text)]);
    host.collect();
    return result;
  }

  change(id: number, changes: readonly SingleChange[], transition: Transition = Transition.auto) {
    const host = this.host(id);
    const change: ConfigurationChange = { transition, changes, context: new Uint8Array(0) };
    const result = host.node.changeConfiguration(change);
    host.collect();
    return result;
  }

  /** The indexes and terms of a log on disk, "1 1 2" for three entries. */
  terms(id: number): string {
    return this.host(id).disk.entries.map(({ term }) => term).join(" ");
  }

  committed(id: number): LogIndex {
    return this.host(id).status.committed;
  }

  /** Everybody that is up has applied the same. */
  assertConverged(...ids: number[]): void {
    const hosts = ids.length > 0 ? ids.map((id) => this.host(id)) : [...this.hosts.values()];
    const states = new Set(hosts.map(({ machine }) => `${machine.index} ${machine.hash}`));
    assert.equal(states.size, 1, `the machines differ: ${[...states].join(", ")}`);
  }
}
