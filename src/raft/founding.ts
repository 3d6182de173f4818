/**
 * How nodes that start at the same time become one cluster, and never two.
 *
 * Every founder asks the addresses of `cluster.join` who is there, and tells who it has found; where
 * a number says when there are enough, it also asks those of whom it was told. Once it has found as
 * many as there must be, its set is fixed and durable (cluster_record.ts), and it says so. It founds
 * the cluster when all the others say the same of the same set. The cluster's id follows from the
 * set, so founders of different sets refuse each other. Whoever missed the moment learns from any
 * founder that the cluster exists, and joins it under the replica id that the set gives it; whoever
 * is not in the set waits to be added by an operator.
 */
import { encodeText, equalBytes } from "../base/bytes.ts";
import { CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Clock } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import {
  type Founder,
  type IdentifyResponse,
  Transport,
} from "../gen/covey/raft/v1/transport_pb.ts";
import { clusterIdOf, type ClusterRecord } from "./cluster_record.ts";
import { fromWire, type Member } from "./members.ts";
import { RareLog } from "./rare_log.ts";

/** Between two rounds of questions. */
const roundMs = 250;
/** Once there is a cluster that this node has to be added to, questions are only a reminder. */
const waitingRoundMs = 5_000;
const questionMs = 2_000;
/** A start in which everybody is there says nothing; after so many rounds it is said who is not. */
const silentRounds = 8;

export interface FoundingParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: Omit<Member, "replica">;
  readonly join: readonly string[];
  /** 0: the nodes at the addresses of `join`, and this one. */
  readonly expect: number;
  readonly channel: (address: string) => Channel;
  /** The set that this node agreed to before it was restarted. */
  readonly promised: ClusterRecord | undefined;
  /** There is a cluster without this node. */
  foreign?(clusterId: string): void;
  /** Makes the agreement durable. */
  promise(record: ClusterRecord): Promise<void>;
}

/** What a node outside of a cluster knows and says. */
export class Founding {
  readonly #parts: FoundingParts;
  /** By address. */
  readonly #channels = new Map<string, Channel>();
  readonly #found = new Map<string, Omit<Member, "replica">>();
  /** Of each address, who answered there. */
  readonly #at = new Map<string, string>();
  /** Nodes that said that they agree to the very set of this node. */
  readonly #agreed = new Set<string>();
  #record: ClusterRecord | undefined;
  #foreign: string | undefined = undefined;
  #stopped = false;
  #wake: (() => void) | undefined = undefined;
  /** Of each address, why the last question had no answer. */
  readonly #silence = new Map<string, string>();
  readonly #log: RareLog;
  #rounds = 0;
  /** What an operator has to see to, found in the present round of questions and in the last one. */
  #obstacle: string | undefined = undefined;
  #lastObstacle: string | undefined = undefined;

  constructor(parts: FoundingParts) {
    this.#parts = parts;
    this.#log = new RareLog(parts.clock, parts.logger);
    this.#record = parts.promised;
    this.#found.set(parts.self.nodeId, parts.self);
  }

  /** What is missing, in a sentence. */
  get waitingFor(): string {
    if (this.#lastObstacle !== undefined) return this.#lastObstacle;
    if (this.#foreign !== undefined) {
      return `cluster ${this.#foreign} exists without this node: run "covey raft add ` +
        `${this.#parts.self.address}" on one of its members`;
    }
    const { expect, join } = this.#parts;
    const found = this.found.map(({ name }) => name).join(", ");
    if (this.#record === undefined) {
      const missing = join.filter((address) => !this.#at.has(address)).map((address) => {
        const why = this.#silence.get(address);
        return why === undefined ? address : `${address} (${why})`;
      });
      return `the cluster is being founded: found ${found}` +
        (expect > 0 ? ` of ${expect} nodes` : "") +
        (missing.length > 0
          ? `, no answer from ${missing.join(", ")}`
          : ", and cluster.join names nobody else");
    }
    const missing = this.#record.founders
      .filter(({ nodeId }) => nodeId !== this.#parts.self.nodeId && !this.#agreed.has(nodeId))
      .map(({ name, address }) => `${name} at ${address}`);
    return `the cluster is being founded: waiting for ${missing.join(", ")} to agree`;
  }

  /** How this node introduces itself. */
  get founder(): {
    nodeId: string;
    name: string;
    address: string;
    known: string[];
    expect: number;
    complete: boolean;
  } {
    const { self, expect } = this.#parts;
    const { nodeId, name, address } = self;
    const known = this.#record === undefined
      ? this.found.map((one) => one.nodeId)
      : this.#record.founders.map((founder) => founder.nodeId);
    return { nodeId, name, address, known, expect, complete: this.#record !== undefined };
  }

  /** The nodes that are to found the cluster, as far as they are known here; ascending. */
  get found(): readonly Omit<Member, "replica">[] {
    const { expect, join, self } = this.#parts;
    // Who answers at an address may have lost its directory and be another one than before.
    const ids = expect > 0
      ? this.#found.keys()
      : new Set([self.nodeId, ...join.flatMap((address) => this.#at.get(address) ?? [])]);
    return [...ids].sort().flatMap((nodeId) => this.#found.get(nodeId) ?? []);
  }

  /** Another founder has introduced itself. */
  met(founder: Founder): void {
    // An asker counts only where a number says when there are enough.
    this.#heard(founder, this.#parts.expect > 0);
    this.#wake?.();
  }

  /** Resolves with the agreed record; undefined when stopped before. */
  async run(): Promise<ClusterRecord | undefined> {
    while (!this.#stopped) {
      this.#obstacle = undefined;
      const addresses = this.#addresses();
      const answers = await Promise.all(addresses.map((address) => this.#ask(address)));
      for (let at = 0; at < answers.length; at++) {
        const answer = answers[at];
        if (answer?.self === undefined) continue;
        if (answer.clusterId !== "") {
          this.#at.set(addresses[at], answer.self.nodeId);
          const record = this.#adopt(answer);
          if (record !== undefined) return record;
          continue;
        }
        this.#heard(answer.self, true);
        this.#at.set(addresses[at], answer.self.nodeId);
        if (this.#parts.expect > 0) this.#toldOf(answer.founders.map(fromWire));
      }
      // A promise that is made after an invitation was taken would bind it to two clusters.
      if (this.#stopped) return undefined;
      if (this.#foreign === undefined) {
        if (this.#record === undefined) await this.#tryToAgree();
        if (this.#isAgreed()) return this.#record;
      }
      this.#lastObstacle = this.#obstacle;
      if (++this.#rounds >= silentRounds && this.#obstacle === undefined) {
        this.#say("info", "this node waits to be part of a cluster", this.waitingFor);
      }
      await this.#pause(this.#foreign === undefined ? roundMs : waitingRoundMs);
    }
    return undefined;
  }

  #isForeign(clusterId: string): void {
    const isNew = this.#foreign !== clusterId;
    this.#foreign = clusterId;
    if (isNew) this.#parts.foreign?.(clusterId);
  }

  stop(): void {
    this.#stopped = true;
    for (const channel of this.#channels.values()) channel.close();
    this.#wake?.();
  }

  /** Where to ask: those in `join` first. */
  #addresses(): string[] {
    const { join, expect, self } = this.#parts;
    if (expect === 0) return [...join];
    const others = [...this.#found.values()].filter(({ nodeId }) => nodeId !== self.nodeId);
    return [...new Set([...join, ...others.map(({ address }) => address)])];
  }

  async #ask(address: string): Promise<IdentifyResponse | undefined> {
    if (this.#stopped) return undefined;
    let channel = this.#channels.get(address);
    if (channel === undefined) {
      channel = this.#parts.channel(address);
      this.#channels.set(address, channel);
    }
    try {
      const answer = await createClient(Transport, channel).identify(
        { asker: this.founder },
        { timeoutMs: questionMs },
      );
      this.#silence.delete(address);
      return answer;
    } catch (error) {
      this.#silence.set(address, CoveyError.from(error).rawMessage);
      return undefined;
    }
  }

  #heard(founder: Founder, counts: boolean): void {
    const { nodeId, name, address, known, complete } = founder;
    if (nodeId === this.#parts.self.nodeId) return;
    if (counts) {
      for (const known of [...this.#found.values()]) {
        // Its directory was lost: the one that was there before does not come back.
        if (known.address === address && known.nodeId !== this.#parts.self.nodeId) {
          this.#found.delete(known.nodeId);
        }
      }
      this.#found.set(nodeId, { nodeId, name, address });
    }
    const record = this.#record;
    if (record === undefined) return;
    const promised = record.founders.map((one) => one.nodeId);
    const same = complete && sameSet(known, promised);
    if (same) this.#agreed.add(nodeId);
    else this.#agreed.delete(nodeId);
    if (!complete || same || !promised.includes(nodeId)) return;
    this.#complain(
      `node ${name} has agreed to found a cluster of ${known.length} nodes that is not the one of ` +
        `${promised.length} that this node has agreed to: give all of them the same cluster.join ` +
        "and cluster.expect; to give an agreement up, stop the node and remove cluster.json from " +
        "its data directory",
    );
  }

  /** Another founder knows these. What was heard from a node itself counts more. */
  #toldOf(founders: readonly Member[]): void {
    for (const { nodeId, name, address } of founders) {
      const known = [...this.#found.values()];
      if (known.some((one) => one.nodeId === nodeId || one.address === address)) continue;
      this.#found.set(nodeId, { nodeId, name, address });
    }
  }

  #isComplete(): boolean {
    const { expect, join } = this.#parts;
    if (expect === 0) return join.every((address) => this.#at.has(address));
    if (this.#found.size > expect) {
      this.#complain(
        `found ${this.#found.size} nodes where cluster.expect says ${expect} ` +
          `(${
            this.found.map(({ name, address }) => `${name} at ${address}`).join(", ")
          }): correct ` +
          "cluster.join or cluster.expect; if one of them is gone for ever, restart all others",
      );
      return false;
    }
    return this.#found.size === expect;
  }

  async #tryToAgree(): Promise<void> {
    if (!this.#isComplete()) return;
    const founders = this.found.map((founder, at) => ({ ...founder, replica: at + 1 }));
    const nodeIds = founders.map(({ nodeId }) => nodeId);
    const record = {
      clusterId: clusterIdOf(nodeIds),
      replica: nodeIds.indexOf(this.#parts.self.nodeId) + 1,
      founders,
      founded: false,
    };
    await this.#parts.promise(record);
    this.#record = record;
  }

  #isAgreed(): boolean {
    return this.#record !== undefined &&
      this.#record.founders.every(({ nodeId }) =>
        nodeId === this.#parts.self.nodeId || this.#agreed.has(nodeId)
      );
  }

  /** The cluster is there already. */
  #adopt(answer: IdentifyResponse): ClusterRecord | undefined {
    const { self } = this.#parts;
    const founders = answer.founders.map(fromWire);
    const own = founders.find(({ nodeId }) => nodeId === self.nodeId);
    const promised = this.#record;
    if (promised !== undefined && promised.clusterId !== answer.clusterId) {
      this.#complain(
        `node ${answer.self?.name} belongs to cluster ${answer.clusterId}, and this node has ` +
          `agreed to found ${promised.clusterId}: check cluster.join on all nodes; to give this ` +
          "agreement up, remove cluster.json from the data directory",
      );
      return undefined;
    }
    // Nobody founds before this node has agreed, and agreeing is durable first.
    if (own !== undefined && promised === undefined) {
      this.#complain(
        `this node was replica ${own.replica} of cluster ${answer.clusterId}, and its data is gone: ` +
          `run "covey raft remove ${own.replica}" on a member, and start this node with an empty ` +
          "data directory",
      );
      this.#isForeign(answer.clusterId);
      return undefined;
    }
    const isTheirs = own !== undefined &&
      answer.clusterId === clusterIdOf(founders.map(({ nodeId }) => nodeId));
    if (isTheirs) return { ...promised!, replica: own.replica, founders };
    this.#isForeign(answer.clusterId);
    this.#say("warning", "waiting to be added", this.waitingFor);
    return undefined;
  }

  #complain(why: string): void {
    this.#obstacle = why;
    this.#say("error", "the cluster cannot be founded like this", why);
  }

  #say(level: "info" | "warning" | "error", message: string, why: string): void {
    if (!this.#stopped) this.#log.say(level, message, { why });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#parts.clock.timer(ms, () => this.#wake?.(), undefined);
      this.#wake = () => {
        this.#wake = undefined;
        timer.cancel();
        resolve();
      };
      if (this.#stopped) this.#wake();
    });
  }
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return equalBytes(encodeText([...a].sort().join()), encodeText([...b].sort().join()));
}
