/** `covey leave`: the node leaves the view, and does not come back by itself. */
import { Members } from "../../gen/covey/membership/v1/members_pb.ts";
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { withNode } from "../node_link.ts";

export async function leave(this: CliContext, flags: NodeFlags): Promise<void> {
  await withNode(this, flags, async (node) => {
    const { timeoutMs } = node;
    await node.client(Members).leave({}, { timeoutMs });
    if (flags.json) await this.printJson({ left: true });
    this.note("the node has left and may be stopped; it joins again when it is started again");
  });
}
