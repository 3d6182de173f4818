/**
 * How nodes that start at the same time become one cluster, and never two.
 *
 * Every founder asks the addresses of `cluster.join` who is there, and tells who it has found. Once
 * it has found as many as there must be, its set is fixed and durable (cluster_record.ts), and it
 * says so. It founds the cluster when all the others say the same of the same set. The cluster's id
 * follows from the set, so founders of different sets refuse each other. Whoever missed the moment
 * learns from any founder that the cluster exists, and joins it under the replica id that the set
 * gives it; whoever is not in the set waits to be added by an operator.
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

/** Between two rounds of questions. */
const roundMs = 250;
/** Once there is a cluster that this node has to be added to, questions are only a reminder. */
const waitingRoundMs = 5_000;
const questionMs = 2_000;

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
  /** Makes the agreement durable. */
  promise(record: ClusterRecord): Promise<void>;
}

/** What a node outside of a cluster knows and says. */
export class Founding {
  readonly #parts: FoundingParts;
  readonly #channels: Channel[];
  readonly #found = new Map<string, Omit<Member, "replica">>();
  /** Of each address, who answered there. */
  readonly #at = new Map<string, string>();
  /** Nodes that said that they agree to the very set of this node. */
  readonly #agreed = new Set<string>();
  #record: ClusterRecord | undefined;
  #foreign: string | undefined = undefined;
  #stopped = false;
  #wake: (() => void) | undefined = undefined;
  #complaint = "";

  constructor(parts: FoundingParts) {
    this.#parts = parts;
    this.#record = parts.promised;
    this.#channels = parts.join.map((address) => parts.channel(address));
    this.#found.set(parts.self.nodeId, parts.self);
  }

  /** What is missing, in a sentence. */
  get waitingFor(): string {
    if (this.#foreign !== undefined) {
      return `cluster ${this.#foreign} exists without this node: run "covey raft add ` +
        `${this.#parts.self.address}" on one of its members`;
    }
    const { expect, join } = this.#parts;
    const found = [...this.#found.values()].map(({ name }) => name).join(", ");
    if (this.#record === undefined) {
      const missing = join.filter((address) => !this.#at.has(address));
      return `the cluster is being founded: found ${found}` +
        (expect > 0 ? ` of ${expect} nodes` : "") +
        (missing.length > 0 ? `, no answer from ${missing.join(", ")}` : "");
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
      ? [...this.#found.keys()].sort()
      : this.#record.founders.map((founder) => founder.nodeId);
    return { nodeId, name, address, known, expect, complete: this.#record !== undefined };
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
      const answers = await Promise.all(this.#channels.map((channel) => this.#ask(channel)));
      for (let at = 0; at < answers.length; at++) {
        const answer = answers[at];
        if (answer?.self === undefined) continue;
        this.#at.set(this.#parts.join[at], answer.self.nodeId);
        if (answer.clusterId !== "") {
          const record = this.#adopt(answer);
          if (record !== undefined) return record;
        } else this.#heard(answer.self, true);
      }
      if (this.#foreign === undefined) {
        if (this.#record === undefined) await this.#tryToAgree();
        if (this.#isAgreed()) return this.#record;
      }
      await this.#pause(this.#foreign === undefined ? roundMs : waitingRoundMs);
    }
    return undefined;
  }

  stop(): void {
    this.#stopped = true;
    for (const channel of this.#channels) channel.close();
    this.#wake?.();
  }

  async #ask(channel: Channel): Promise<IdentifyResponse | undefined> {
    try {
      return await createClient(Transport, channel).identify(
        { asker: this.founder },
        { timeoutMs: questionMs },
      );
    } catch (error) {
      const { rawMessage } = CoveyError.from(error);
      if (this.#complaint !== rawMessage && !this.#stopped) {
        this.#complaint = rawMessage;
        this.#parts.logger.info("waiting for the other founders", { why: rawMessage });
      }
      return undefined;
    }
  }

  #heard(founder: Founder, counts: boolean): void {
    const { nodeId, name, address, known, complete } = founder;
    if (nodeId === this.#parts.self.nodeId) return;
    if (counts) this.#found.set(nodeId, { nodeId, name, address });
    const record = this.#record;
    if (record === undefined) return;
    const same = complete && sameSet(known, record.founders.map((one) => one.nodeId));
    if (same) this.#agreed.add(nodeId);
    else this.#agreed.delete(nodeId);
  }

  #isComplete(): boolean {
    const { expect, join } = this.#parts;
    if (expect === 0) return join.every((address) => this.#at.has(address));
    if (this.#found.size > expect) {
      this.#complain(
        `found ${this.#found.size} nodes where cluster.expect says ${expect}: correct cluster.join ` +
          "or cluster.expect",
      );
      return false;
    }
    return this.#found.size === expect;
  }

  async #tryToAgree(): Promise<void> {
    if (!this.#isComplete()) return;
    const nodeIds = [...this.#found.keys()].sort();
    const founders = nodeIds.map((nodeId, at) => ({
      ...this.#found.get(nodeId)!,
      replica: at + 1,
    }));
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
    const isTheirs = own !== undefined &&
      answer.clusterId === clusterIdOf(founders.map(({ nodeId }) => nodeId));
    if (isTheirs) {
      return {
        clusterId: answer.clusterId,
        replica: own.replica,
        founders,
        founded: false,
      };
    }
    if (this.#foreign !== answer.clusterId) {
      this.#foreign = answer.clusterId;
      this.#parts.logger.warning("waiting to be added", { why: this.waitingFor });
    }
    return undefined;
  }

  #complain(why: string): void {
    if (this.#complaint === why) return;
    this.#complaint = why;
    this.#parts.logger.error("the cluster cannot be founded like this", { why });
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
