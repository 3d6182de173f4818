/**
 * Finds members whose address in the log is not theirs any more: when all of them have moved at once,
 * nobody can tell anybody. What an operator then has corrected is `cluster.join`, so whoever misses a
 * member asks there who is who.
 */
import type { Logger } from "../base/log.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import type { RaftHost } from "./host.ts";

const lookMs = 5_000;
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
  #timer: Timer | undefined = undefined;
  #stopped = false;

  constructor(parts: RediscoveryParts) {
    this.#parts = parts;
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
    const { host, join } = this.#parts;
    const missing = host.peers.filter((peer) => !peer.connected);
    if (missing.length === 0) return;
    // Where a connected member is, no missing one can be.
    const taken = host.peers.filter((peer) => peer.connected).map(({ address }) => address);
    const open = join.filter((address) =>
      !taken.includes(address) && address !== host.facts.address
    );
    await Promise.all(open.map((address) => this.#ask(address)));
  }

  async #ask(address: string): Promise<void> {
    const { channel: open, host, logger } = this.#parts;
    using channel = open(address);
    try {
      const { self, clusterId } = await createClient(Transport, channel).identify(
        {},
        { timeoutMs: questionMs },
      );
      if (self === undefined || clusterId !== host.clusterId) return;
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
