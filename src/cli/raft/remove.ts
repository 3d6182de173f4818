/** `covey raft remove REPLICA`: a replica leaves for ever. */
import { Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import { askLine } from "../ask.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import { withNode } from "../node_link.ts";
import { describePeer, findPeer, type RaftFlags } from "./group.ts";

/** The flags of `covey raft remove`. */
export interface RemoveFlags extends RaftFlags {
  readonly yes?: boolean;
}

/** Nothing can undo it, so that it takes a name typed on a terminal, or `--yes`. */
export async function remove(this: CliContext, flags: RemoveFlags, text: string): Promise<void> {
  const group = flags.group ?? 0;
  if (flags.yes !== true && !this.runtime.host.isTerminal("stdin")) {
    throw new UsageError("nothing was removed: without a terminal to ask on, --yes must say so");
  }
  await withNode(this, flags, async (node) => {
    const peer = await findPeer(node, group, text);
    if (flags.yes !== true) {
      const name = peer.name || String(peer.replica);
      const typed = await node.withoutDeadline(() =>
        askLine(
          this,
          `${describePeer(peer)} at ${peer.address} leaves for ever, and its data is worth ` +
            `nothing afterwards. Type ${name} to go on: `,
        )
      );
      if (typed !== name) throw new UsageError("nothing was removed");
    }
    await node.client(Raft).remove({ group, replica: peer.replica }, { timeoutMs: node.timeoutMs });
    if (flags.json) await this.printJson({ removed: Number(peer.replica) });
    this.note(`${describePeer(peer)} is removed; the node there may be stopped`);
  });
}
