/**
 * The network between the processes of a cluster: one relay in front of each, and conditions for
 * each ordered pair. A connection's dialler is found by the process that owns its socket.
 */
import { type Address, parseAddress } from "../../src/base/address.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { ownerOfPort } from "./server_process.ts";
import { type Direction, type LinkConditions, TcpRelay } from "./tcp_relay.ts";

/** A process of the cluster, as far as the network has to know it. */
export interface MeshMember {
  readonly index: number;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
}

export interface RelayMeshOptions {
  readonly runtime: Runtime;
  /** Of what the relays draw. */
  readonly seed: number;
  readonly members: () => readonly MeshMember[];
}

export class RelayMesh {
  readonly #options: RelayMeshOptions;
  /** By the index of the member that it stands in front of. */
  readonly #relays: Map<number, TcpRelay> = new Map();

  constructor(options: RelayMeshOptions) {
    this.#options = options;
  }

  /** Puts a relay in front of a member; resolves with where others are to dial it. */
  async add(index: number, host: string, target: Address): Promise<Address> {
    const { runtime, seed } = this.#options;
    const relay = await TcpRelay.open({
      net: runtime.net,
      clock: runtime.clock,
      listen: parseAddress(`tcp://${host}:0`),
      target: () => target,
      seed: seed + index,
      source: (port) => this.#sourceOf(port),
    });
    this.#relays.set(index, relay);
    return relay.address;
  }

  /**
   * Sets the conditions of what `from` sends to `to`, whoever of them dialled; the other way is
   * a link of its own.
   */
  link(from: number, to: number, conditions: Partial<LinkConditions>): void {
    this.#set(to, from, "forward", conditions);
    this.#set(from, to, "back", conditions);
  }

  /** Sets the conditions of all links between members. */
  linkAll(conditions: Partial<LinkConditions>): void {
    for (const from of this.#relays.keys()) {
      for (const to of this.#relays.keys()) if (from !== to) this.link(from, to, conditions);
    }
  }

  /** Cuts these members from all others, both ways; among themselves they stay connected. */
  isolate(indexes: readonly number[]): void {
    for (const inside of indexes) {
      for (const outside of this.#relays.keys()) {
        if (indexes.includes(outside)) continue;
        this.link(inside, outside, { cut: true });
        this.link(outside, inside, { cut: true });
      }
    }
  }

  /** Ends every fault. */
  heal(): void {
    for (const relay of this.#relays.values()) relay.heal();
  }

  close(): void {
    for (const relay of this.#relays.values()) relay.close();
    this.#relays.clear();
  }

  #set(
    relayOf: number,
    source: number,
    direction: Direction,
    conditions: Partial<LinkConditions>,
  ): void {
    const relay = this.#relays.get(relayOf);
    if (relay === undefined) throw new Error(`no relay in front of member ${relayOf}`);
    relay.set(conditions, { direction, source: `${source}` });
  }

  #sourceOf(port: number): string {
    const members = this.#options.members();
    const pids = members.flatMap(({ pid }) => pid === undefined ? [] : [pid]);
    const owner = ownerOfPort(port, pids);
    return `${members.find(({ pid }) => pid !== undefined && pid === owner)?.index ?? "unknown"}`;
  }
}
