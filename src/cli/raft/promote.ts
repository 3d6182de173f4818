/** `covey raft promote REPLICA`: a learner becomes a voter. */
import { Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "../context.ts";
import { withNode } from "../node_link.ts";
import { describePeer, findPeer, type RaftFlags } from "./group.ts";

export async function promote(this: CliContext, flags: RaftFlags, text: string): Promise<void> {
  const group = flags.group ?? 0;
  await withNode(this, flags, async (node) => {
    const peer = await findPeer(node, group, text);
    await node.client(Raft).promote({ group, replica: peer.replica }, {
      timeoutMs: node.timeoutMs,
    });
    if (flags.json) await this.printJson({ replica: Number(peer.replica), suffrage: "voter" });
    this.note(`${describePeer(peer)} is a voter`);
  });
}
