/** `covey raft peers`: the replicas of a group and how they fare. */
import type { Peer } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "../context.ts";
import { askNode } from "../node_link.ts";
import { formatTable } from "../table.ts";
import { peerReport, suffrageName } from "../../report/raft.ts";
import { askPeers, type RaftFlags } from "./group.ts";

function peerRow(peer: Peer): string[] {
  const known = peer.progress !== "";
  // A leader knows that it lives.
  const silent = peer.active || peer.leader ? "" : ", silent";
  return [
    String(peer.replica),
    peer.name,
    peer.leader ? "leader" : suffrageName(peer.suffrage),
    peer.address,
    known ? String(peer.matchIndex) : "",
    known ? peer.progress + silent : "",
    peer.roundTripMillis === 0 ? "" : `${peer.roundTripMillis.toFixed(1)} ms`,
    peer.nodeId,
  ];
}

export async function peers(this: CliContext, flags: RaftFlags): Promise<void> {
  await askNode(this, flags, async (node) => {
    const answer = await askPeers(node, flags.group ?? 0);
    if (flags.json) {
      for (const peer of answer.peers) await this.printJson(peerReport(peer));
    } else {
      const head = [
        "REPLICA",
        "NAME",
        "ROLE",
        "ADDRESS",
        "MATCH",
        "PROGRESS",
        "ROUND TRIP",
        "NODE",
      ];
      await this.print(formatTable([head, ...answer.peers.map(peerRow)]));
    }
    if (answer.leader === 0n) this.note(`there is no leader in term ${answer.term}`);
  });
}
