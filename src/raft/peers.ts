/**
 * The other nodes that this one talks to: those that share a group with it, and for a while those
 * that do not any more, or not yet as far as this node knows. Who left hears the last that concerns
 * it, and calls that pass through it end.
 */
import { Peer, type PeerOwner } from "./peer.ts";

/** A node in no group is let go after this long, and after as long a silence. */
const lingerMs = 5_000;
/** More replicas than any group has; what a node makes up beyond that is not remembered. */
const contactsMax = 1_024;

export class Peers {
  readonly #owner: PeerOwner;
  readonly #self: string;
  readonly #byNode = new Map<string, Peer>();
  /** Who last spoke for a replica that the group's members do not list. */
  readonly #contacts = new Map<string, Peer>();
  #wanted: ReadonlySet<string> = new Set();
  /** Since when a node is in no group. */
  readonly #uselessMs = new Map<string, number>();

  constructor(owner: PeerOwner, self: string) {
    this.#owner = owner;
    this.#self = self;
  }

  get all(): IterableIterator<Peer> {
    return this.#byNode.values();
  }

  /** Looked at for each proposal. */
  get someDiskIsLow(): boolean {
    for (const peer of this.#byNode.values()) if (peer.lowSpace) return true;
    return false;
  }

  get(nodeId: string): Peer | undefined {
    return this.#byNode.get(nodeId);
  }

  /** The peer of this id, made if need be. */
  meet(nodeId: string, name: string, address: string): Peer {
    let peer = this.#byNode.get(nodeId);
    if (peer === undefined) {
      peer = new Peer(this.#owner, this.#self, nodeId, name, address);
      this.#byNode.set(nodeId, peer);
    }
    return peer;
  }

  /** These share a group with this node. */
  want(nodeIds: ReadonlySet<string>): void {
    this.#wanted = nodeIds;
  }

  /** This peer speaks for a replica that the members of its group do not list. */
  contact(group: number, replica: number, peer: Peer): void {
    const key = `${group}/${replica}`;
    if (this.#contacts.size < contactsMax || this.#contacts.has(key)) this.#contacts.set(key, peer);
  }

  contactOf(group: number, replica: number): Peer | undefined {
    return this.#contacts.get(`${group}/${replica}`);
  }

  /** Time has passed: lets those go that nobody needs. */
  expire(nowMs: number): void {
    for (const [nodeId, peer] of [...this.#byNode]) {
      if (this.#wanted.has(nodeId)) {
        this.#uselessMs.delete(nodeId);
        continue;
      }
      const sinceMs = this.#uselessMs.get(nodeId) ?? nowMs;
      this.#uselessMs.set(nodeId, sinceMs);
      const contacts = [...this.#contacts].filter(([, contact]) => contact === peer);
      const isSilent = contacts.length === 0 || nowMs - peer.heardMs >= lingerMs;
      if (nowMs - sinceMs < lingerMs || !isSilent) continue;
      for (const [key] of contacts) this.#contacts.delete(key);
      this.#uselessMs.delete(nodeId);
      this.#byNode.delete(nodeId);
      peer.close();
    }
  }

  close(): void {
    for (const peer of this.#byNode.values()) peer.close();
  }
}
