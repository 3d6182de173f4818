/**
 * Since when each node and each replica is there, or is not, as this leader has seen it. Nothing of
 * it is known to the next leader, which counts from its own beginning: so a time here is never
 * longer than the real one.
 */
import type { Inputs, Replica, ViewMember } from "./types.ts";

/** How something is, and since when without a break. */
export interface Spell {
  readonly isThere: boolean;
  readonly sinceMs: number;
  /** Whose presence it is: a node that joined anew begins anew. */
  readonly incarnation: bigint;
}

export class Memory {
  readonly #stallMs: number;
  #seenMs: number | undefined = undefined;
  /** Of replicas in the view, by replica id. */
  #presence = new Map<number, Spell>();
  /** Of replicas and the leader, by replica id. */
  #contact = new Map<number, Spell>();
  /** Of nodes in the view, by node id. */
  #nodes = new Map<string, Spell>();
  /** Of replicas, as they were in the view last. */
  #zones = new Map<number, string>();

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  /** Takes in how things are now. */
  observe({ view, group }: Inputs, nowMs: number): void {
    // While this process stood still it saw nobody, which says nothing about them.
    if (this.#seenMs !== undefined && nowMs - this.#seenMs > this.#stallMs) this.forget();
    this.#seenMs = nowMs;
    const byNode = new Map(view.members.map((member) => [member.nodeId, member]));
    const next = (
      before: Spell | undefined,
      isThere: boolean,
      incarnation: bigint,
    ): Spell =>
      before?.isThere === isThere && before.incarnation === incarnation
        ? before
        : { isThere, sinceMs: nowMs, incarnation };
    const presence = new Map<number, Spell>();
    const contact = new Map<number, Spell>();
    const zones = new Map<number, string>();
    for (const replica of group.replicas) {
      const { id } = replica;
      const member = byNode.get(replica.nodeId);
      const isHere = isPresent(replica, member, group.self);
      const incarnation = isHere ? member?.incarnation ?? 0n : 0n;
      presence.set(id, next(this.#presence.get(id), isHere, incarnation));
      contact.set(id, next(this.#contact.get(id), replica.inContact, 0n));
      zones.set(id, member?.zone ?? this.#zones.get(id) ?? "");
    }
    const nodes = new Map<string, Spell>();
    for (const { nodeId, incarnation } of view.members) {
      nodes.set(nodeId, next(this.#nodes.get(nodeId), true, incarnation));
    }
    this.#presence = presence;
    this.#contact = contact;
    this.#zones = zones;
    this.#nodes = nodes;
  }

  /** Times begin anew. */
  forget(): void {
    this.#seenMs = undefined;
    this.#presence.clear();
    this.#contact.clear();
    this.#nodes.clear();
    this.#zones.clear();
  }

  /** Whether the node of a replica is in the view, with that replica. */
  presence(replica: number): Spell {
    return this.#presence.get(replica)!;
  }

  contact(replica: number): Spell {
    return this.#contact.get(replica)!;
  }

  node(nodeId: string): Spell {
    return this.#nodes.get(nodeId)!;
  }

  zone(replica: number): string {
    return this.#zones.get(replica)!;
  }
}

/** A node that is in the view and has lost its replica is not there as that replica. */
function isPresent(replica: Replica, member: ViewMember | undefined, self: number): boolean {
  if (member === undefined) return false;
  return member.standing !== "vacant" || replica.inContact || replica.id === self;
}
