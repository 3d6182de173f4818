/** Whose messages count: a replica's come from its own node, or from nobody. */
import { type Message, MessageType } from "./core/types.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { Peer } from "./peer.ts";
import type { Peers } from "./peers.ts";

/** A replica's messages come from its own node, or from nobody. */
export function mayHear(
  peers: Peers,
  group: GroupOfAny,
  { peer, message }: { readonly peer: Peer; readonly message: Message },
): boolean {
  const claimed = group.members.get(message.from);
  if (claimed !== undefined) return claimed.nodeId === peer.nodeId;
  if (message.to !== group.replica) return false;
  const { type, from } = message;
  const campaigns = type === MessageType.preVote || type === MessageType.vote;
  if (campaigns && group.wasRemoved(from)) {
    peer.tellRemoved(group.id, from);
    return false;
  }
  // Added a moment ago, or a leader that left and ends what it began.
  peers.contact(group.id, from, peer);
  return true;
}
