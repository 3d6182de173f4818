/** `covey raft status`: how the replicas of the asked node fare. */
import { type GroupStatus, Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "../context.ts";
import { askNode } from "../node_link.ts";
import { formatBytes, formatTable } from "../table.ts";
import { raftReport, roleName } from "../../report/raft.ts";
import type { RaftFlags } from "./group.ts";

function groupRows(group: GroupStatus): string[][] {
  const waiting = [
    `${group.proposalsPending} proposals`,
    `${group.readsPending} reads`,
    `${formatBytes(Number(group.uncommittedBytes))} uncommitted`,
  ];
  const replicas = [
    ["voters", group.voters],
    ["leaving", group.votersOutgoing],
    ["learners", group.learners],
    ["learners next", group.learnersNext],
  ] as const;
  return [
    ["group", `${group.group}${group.name === "" ? "" : ` (${group.name})`}`],
    ...(group.stopped === "" ? [] : [["stopped", group.stopped]]),
    ["role", `${roleName(group.role)}, replica ${group.replica}`],
    ["leader", group.leader === 0n ? "none" : `replica ${group.leader}`],
    ["term", String(group.term)],
    [
      "log",
      `entries ${group.firstIndex} to ${group.lastIndex}, snapshot at ${group.snapshotIndex}`,
    ],
    [
      "indexes",
      `durable ${group.stableIndex}, committed ${group.commitIndex}, applied ${group.appliedIndex}`,
    ],
    ["waiting", waiting.join(", ")],
    ["election timeout", `${group.electionTimeoutMillis} ms`],
    ...replicas.filter(([name, ids]) => name === "voters" || ids.length > 0)
      .map(([name, ids]) => [name, ids.join(", ") || "none"]),
  ];
}

export async function status(this: CliContext, flags: RaftFlags): Promise<void> {
  await askNode(this, flags, async (node) => {
    const answer = await node.client(Raft).status({}, { timeoutMs: node.timeoutMs });
    const groups = answer.groups.filter(({ group }) =>
      flags.group === undefined || group === flags.group
    );
    if (flags.json) await this.printJson(raftReport({ ...answer, groups }));
    else {
      const rows = [["cluster", answer.clusterId || "none yet"], ["node", answer.nodeId]];
      const { log } = answer;
      if (log !== undefined) {
        const space = log.lowSpace ? "; the disk is nearly full" : "";
        rows.push([
          "disk",
          `segments ${log.oldestSegment} to ${log.newestSegment}, ` +
          `${formatBytes(Number(log.bytesWritten))} written in ${log.batches} batches${space}`,
        ]);
      }
      for (const group of groups) rows.push([""], ...groupRows(group));
      await this.print(formatTable(rows));
    }
    if (groups.length === 0) this.note("this node holds no replica of it");
  });
}
