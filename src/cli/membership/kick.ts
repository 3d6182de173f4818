/** `covey kick MEMBER`: another member is taken out of the view. */
import { Members } from "../../gen/covey/membership/v1/members_pb.ts";
import { memberReport } from "../../report/membership.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { withNode } from "../node_link.ts";

export async function kick(this: CliContext, flags: NodeFlags, wanted: string): Promise<void> {
  if (wanted === "") throw new UsageError("MEMBER is empty: give a name, an address or a node id");
  await withNode(this, flags, async (node) => {
    const { timeoutMs } = node;
    const { member } = await node.client(Members).kick({ member: wanted }, { timeoutMs });
    if (flags.json) await this.printJson({ kicked: memberReport(member!) });
    this.note(
      `${member?.name} at ${member?.address} is sent away; if it still runs, it joins again`,
    );
  });
}
