/** `covey raft snapshot`: the asked node takes a snapshot now, and its log gets shorter. */
import { Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "../context.ts";
import { askNode } from "../node_link.ts";
import { formatBytes } from "../table.ts";
import type { RaftFlags } from "./group.ts";

export async function snapshot(this: CliContext, flags: RaftFlags): Promise<void> {
  await askNode(this, flags, async (node) => {
    const { index, term, bytes } = await node.client(Raft).snapshot({ group: flags.group ?? 0 }, {
      timeoutMs: node.timeoutMs,
    });
    if (flags.json) {
      await this.printJson({ index: Number(index), term: Number(term), bytes: Number(bytes) });
    } else {
      await this.print(`index ${index}, term ${term}, ${formatBytes(Number(bytes))}`);
    }
  });
}
