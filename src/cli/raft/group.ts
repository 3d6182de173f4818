/** What the commands of `covey raft` share: the group, and replicas by name. */
import { Code, CoveyError } from "../../base/error.ts";
import { nearest } from "../../config/nearest.ts";
import { type Peer, type PeersResponse, Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import type { NodeLink } from "../node_link.ts";

/** The flags of every command of `covey raft`. */
export interface RaftFlags extends NodeFlags {
  readonly group?: number;
}

export function askPeers(node: NodeLink, group: number): Promise<PeersResponse> {
  return node.client(Raft).peers({ group }, { timeoutMs: node.timeoutMs });
}

/** Finds a replica by its id or by the name of its node. */
export async function findPeer(node: NodeLink, group: number, text: string): Promise<Peer> {
  const { peers } = await askPeers(node, group);
  const byId = peers.find(({ replica }) => String(replica) === text);
  if (byId !== undefined) return byId;
  const byName = peers.filter(({ name }) => name === text);
  if (byName.length === 1) return byName[0];
  if (byName.length > 1) {
    const ids = byName.map(({ replica }) => replica).join(" and ");
    throw new UsageError(`replicas ${ids} are both named ${JSON.stringify(text)}; give the number`);
  }
  const close = nearest(text, peers.map(({ name }) => name));
  const there = peers.map(({ replica, name }) => `${replica} (${name})`).join(", ");
  throw new CoveyError(
    Code.notFound,
    `there is no replica ${JSON.stringify(text)}; ` +
      (close === undefined ? `there are ${there}` : `did you mean ${close}?`),
  );
}

/** "replica 2, node-2" */
export function describePeer({ replica, name }: Pick<Peer, "replica" | "name">): string {
  return name === "" ? `replica ${replica}` : `replica ${replica}, ${name}`;
}
