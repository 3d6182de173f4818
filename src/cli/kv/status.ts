/** `covey kv status`: how the store of the asked node fares. */
import { Maintenance } from "../../gen/covey/kv/v1/kv_pb.ts";
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { askNode } from "../node_link.ts";
import { formatBytes, formatTable } from "../table.ts";
import { kvReport } from "../../report/kv.ts";

export async function status(this: CliContext, flags: NodeFlags): Promise<void> {
  await askNode(this, flags, async (node) => {
    const answer = await node.client(Maintenance).status({}, { timeoutMs: node.timeoutMs });
    if (flags.json) return await this.printJson(kvReport(answer));
    const size = (bytes: bigint): string => formatBytes(Number(bytes));
    await this.print(formatTable([
      ["revision", `${answer.header?.revision ?? 0}, compacted up to ${answer.compactRevision}`],
      ["keys", String(answer.keys)],
      ["size", `${size(answer.dbSize)} of ${size(answer.dbQuota)}`],
      ["history", `${size(answer.historySize)} of it, which a compaction could free`],
      ["memory", size(answer.memorySize)],
      ["leases", String(answer.leases)],
      ["sessions", String(answer.sessions)],
      ["watches", String(answer.watches)],
      ["leader", answer.leader === 0n ? "none" : `replica ${answer.leader}`],
      ["applied", `${answer.raftAppliedIndex} of ${answer.raftIndex}`],
      ["errors", answer.errors.join(", ") || "none"],
    ]));
  });
}
