/** Who takes part: the record that a join brings and a configuration holds. */
import { encodeText } from "../../base/bytes.ts";
import type { Xxh64 } from "../../base/xxh64.ts";

/** What a member is for (section 5 of the paper: the logically centralized variant). */
export const MemberRole = {
  /** Votes on views. */
  core: 0,
  /** Is monitored, monitors, and follows the view. */
  leaf: 1,
} as const;
export type MemberRole = (typeof MemberRole)[keyof typeof MemberRole];

export interface Member {
  /** Where its mesh listener is reached, such as `tcp://10.0.0.1:7946`; unique in a view. */
  readonly address: string;
  /** 32 hexadecimal digits, from its data directory; unique in a view. */
  readonly nodeId: string;
  /** 64 bits, drawn anew at each join: one that was evicted never comes back. */
  readonly incarnation: bigint;
  /** For people; unique in a view. */
  readonly name: string;
  readonly role: MemberRole;
  /** Never changes while it is a member. */
  readonly metadata: ReadonlyMap<string, Uint8Array>;
}

/** Whether these are the same stay of the same node. */
export function isSame(a: Member, b: Member): boolean {
  return a.address === b.address && a.nodeId === b.nodeId && a.incarnation === b.incarnation;
}

/** The order of every list of members: by code units, the same on every engine and in every locale. */
export function compareAddresses(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Adds to a digest all that a record holds. Each text and each value has its length in front of it,
 * and the keys of the metadata ascend, so that different records are different bytes.
 */
export function hashMember(hash: Xxh64, member: Member): void {
  hashText(hash, member.address);
  hashText(hash, member.nodeId);
  const fixed = new Uint8Array(13);
  const view = new DataView(fixed.buffer);
  view.setBigUint64(0, member.incarnation);
  fixed[8] = member.role;
  view.setUint32(9, member.metadata.size);
  hash.update(fixed);
  hashText(hash, member.name);
  for (const key of [...member.metadata.keys()].sort(compareAddresses)) {
    hashText(hash, key);
    hashBytes(hash, member.metadata.get(key)!);
  }
}

function hashText(hash: Xxh64, text: string): void {
  hashBytes(hash, encodeText(text));
}

function hashBytes(hash: Xxh64, bytes: Uint8Array): void {
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, bytes.length);
  hash.update(head).update(bytes);
}
