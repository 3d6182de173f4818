/**
 * Finds members whose address in the log is not theirs any more: when all of them have moved at once,
 * nobody can tell anybody. What an operator then has corrected is `cluster.join`, so whoever misses a
 * member asks there who is who. Who answers there and belongs to another cluster was meant to be a
 * member of this one, and is not: the log says so.
 */
import type { Logger } from "../base/log.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import type { RaftHost } from "./host.ts";
import { RareLog } from "./rare_log.ts";

const lookMs = 5_000;
/** While all members are there, addresses at which none of them is are asked this seldom. */
const strangersMs = 600_000;
const questionMs = 2_000;

export interface RediscoveryParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: RaftHost;
  readonly join: readonly string[];
  readonly channel: (address: string) => Channel;
}

export class Rediscovery {
  readonly #parts: RediscoveryParts;
  readonly #log: RareLog;
  #strangersAtMs = -Infinity;
  #timer: Timer | undefined = undefined;
  #stopped = false;

  constructor(parts: RediscoveryParts) {
    this.#parts = parts;
    this.#log = new RareLog(parts.clock, parts.logger);
  }

  start(): void {
    if (this.#parts.join.length > 0) this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** The timer's work; public only for the timer. */
  look(): void {
    void this.#look().finally(() => this.#arm());
  }

  #arm(): void {
    if (!this.#stopped) this.#timer = this.#parts.clock.timer(lookMs, lookOf, this);
  }

  async #look(): Promise<void> {
    const { clock, host, join } = this.#parts;
    const isMissed = host.peers.some((peer) => !peer.connected);
    if (!isMissed && clock.monotonicMs() < this.#strangersAtMs) return;
    this.#strangersAtMs = clock.monotonicMs() + strangersMs;
    // Where a connected member is, no missing one can be.
    const taken = host.peers.filter((peer) => peer.connected).map(({ address }) => address);
    const open = join.filter((address) =>
      !taken.includes(address) && address !== host.facts.address
    );
    await Promise.all(open.map((address) => this.#ask(address)));
  }

  async #ask(address: string): Promise<void> {
    const { channel: open, host, logger } = this.#parts;
    try {
      using channel = open(address);
      const { self, clusterId } = await createClient(Transport, channel).identify(
        {},
        { timeoutMs: questionMs },
      );
      if (self === undefined || clusterId === "") return;
      if (clusterId !== host.clusterId) {
        this.#log.say("warning", "cluster.join names a node of another cluster", {
          node: self.name,
          address,
          cluster: clusterId,
          why:
            `node ${self.name} at ${address} belongs to cluster ${clusterId}, and this node to ` +
            `${host.clusterId}: two clusters never become one; correct cluster.join, or stop that ` +
            `node, give it an empty data directory, start it, and run "covey raft add ${address}"`,
        });
        return;
      }
      const peer = host.peer(self.nodeId);
      if (peer === undefined || peer.connected) return;
      const found = self.address === "" ? address : self.address;
      if (found === peer.address) return;
      logger.info("a member was found at another address", { node: self.name, address: found });
      peer.move(found);
    } catch (cause) {
      logger.debug("nobody answers at an address of cluster.join", { address, cause });
    }
  }
}

function lookOf(rediscovery: Rediscovery): void {
  rediscovery.look();
}
