/** `covey raft transfer [REPLICA]`: another voter leads. */
import { Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "../context.ts";
import { askNode } from "../node_link.ts";
import { findPeer, type RaftFlags } from "./group.ts";

/** Without a replica the leader chooses the one that has most of the log. */
export async function transfer(this: CliContext, flags: RaftFlags, text?: string): Promise<void> {
  const group = flags.group ?? 0;
  await askNode(this, flags, async (node) => {
    const replica = text === undefined ? 0n : (await findPeer(node, group, text)).replica;
    const { leader } = await node.client(Raft).transfer({ group, replica }, {
      timeoutMs: node.timeoutMs,
    });
    if (flags.json) await this.printJson({ leader: Number(leader) });
    else await this.print(String(leader));
  });
}
