/** `covey status`: the node, its cluster, its leader and its store on one page. */
import { Code, CoveyError } from "../base/error.ts";
import { Maintenance, type StatusResponse as KvStatus } from "../gen/covey/kv/v1/kv_pb.ts";
import { type InfoResponse, Node } from "../gen/covey/node/v1/node_pb.ts";
import { type ListResponse, Members } from "../gen/covey/membership/v1/members_pb.ts";
import {
  type PeersResponse,
  Raft,
  type StatusResponse as RaftStatus,
} from "../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "./context.ts";
import { ExitCode } from "./exit.ts";
import type { NodeFlags } from "./flags.ts";
import { askNode, type NodeLink } from "./node_link.ts";
import { kvReport } from "../report/kv.ts";
import { type MembershipReport, membershipReport } from "../report/membership.ts";
import { peersReport, raftReport, roleName, suffrageName } from "../report/raft.ts";
import { formatBytes, formatTable, formatTime } from "./table.ts";

/** What the node said of itself; a module that is off said nothing. */
interface Answers {
  readonly info: InfoResponse;
  readonly raft: RaftStatus | undefined;
  readonly peers: PeersResponse | undefined;
  readonly kv: KvStatus | undefined;
  readonly membership: ListResponse | undefined;
  /** Why it is part of no cluster; empty when it is part of one. */
  readonly problem: string;
}

/** The leader may be lost, and the rest can be told without it. */
const peersMs = 1000;

/** Exit code 4 when the cluster has no leader, so that a script can wait for one. */
export async function status(this: CliContext, flags: NodeFlags): Promise<void> {
  const answers = await askNode(this, flags, ask);
  if (flags.json) await this.printJson(statusOf(answers));
  else await this.print(formatTable(rowsOf(answers)));
  const isLeaderless = answers.raft !== undefined && leaderOf(answers) === undefined;
  if (isLeaderless || stoppedOf(answers) !== "") {
    this.note(
      answers.raft?.groups.length === 0
        ? answers.problem
        : stoppedOf(answers) || "there is no leader; writes wait for one",
    );
    this.exitWith(ExitCode.unreachable);
  }
}

async function ask(node: NodeLink): Promise<Answers> {
  const info = await node.client(Node).info({}, { timeoutMs: node.timeoutMs });
  const options = { timeoutMs: node.timeoutMs };
  const [raft, kv, membership] = await Promise.all([
    ifServed(node.client(Raft).status({}, options)),
    ifServed(node.client(Maintenance).status({}, options)),
    ifServed(node.client(Members).list({}, options)),
  ]);
  // Who the peers are is asked of the leader, and nobody wants to wait for one here.
  const peers = raft?.groups[0]?.leader ? await ifServed(askPeers(node)) : undefined;
  const problem = raft?.groups.length === 0 ? await whyAlone(node) : "";
  return { info, raft, peers, kv, membership, problem };
}

/** Whoever asks such a node for what is replicated is told why it has nothing. */
async function whyAlone(node: NodeLink): Promise<string> {
  const plain = "this node is part of no cluster yet";
  try {
    await node.client(Raft).groups({}, { timeoutMs: Math.min(node.timeoutMs, peersMs) });
  } catch (error) {
    if (!(error instanceof CoveyError)) throw error;
    if (error.rawMessage.startsWith(plain)) return error.rawMessage;
  }
  return plain;
}

function askPeers(node: NodeLink): Promise<PeersResponse> {
  return node.client(Raft).peers({}, { timeoutMs: Math.min(node.timeoutMs, peersMs) });
}

/** Undefined for a module that is off, or not there yet: the rest can be told all the same. */
async function ifServed<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof CoveyError)) throw error;
    const isOff = error.code === Code.unimplemented;
    // A node that waits to be added is in no cluster, and a leader that is lost does not answer.
    const isMissing = error.code === Code.failedPrecondition || error.code === Code.unavailable ||
      error.code === Code.deadlineExceeded;
    if (isOff || (isMissing && error.sent !== false)) return undefined;
    throw error;
  }
}

function leaderOf({ raft }: Answers): bigint | undefined {
  const leader = raft?.groups[0]?.leader;
  return leader === 0n ? undefined : leader;
}

/** Why the store's group does not go on at this node; empty while it does. */
function stoppedOf({ raft }: Answers): string {
  return raft?.groups[0]?.stopped ?? "";
}

function statusOf(answers: Answers): Record<string, unknown> {
  const { info, raft, peers, kv, membership, problem } = answers;
  const { runtime, memory } = info;
  return {
    name: info.name,
    nodeId: info.nodeId,
    version: info.version,
    runtime: {
      name: runtime?.name ?? "",
      version: runtime?.version ?? "",
      architecture: runtime?.architecture ?? "",
    },
    uptimeMs: Number(info.uptimeMillis),
    memory: {
      rssBytes: Number(memory?.rssBytes ?? 0),
      heapUsedBytes: Number(memory?.heapUsedBytes ?? 0),
      heapTotalBytes: Number(memory?.heapTotalBytes ?? 0),
    },
    ...(problem === "" ? {} : { problem }),
    ...(raft === undefined ? {} : { raft: raftReport(raft) }),
    ...(peers === undefined ? {} : { peers: peersReport(peers).peers }),
    ...(kv === undefined ? {} : { kv: kvReport(kv) }),
    ...(membership === undefined ? {} : { membership: membershipReport(membership) }),
  };
}

function rowsOf(answers: Answers): string[][] {
  const { info, raft, kv, membership } = answers;
  const { runtime, memory } = info;
  const rows = [
    ["node", `${info.name} (${info.nodeId})`],
    [
      "covey",
      `${info.version} on ${runtime?.name} ${runtime?.version}, ${runtime?.architecture}`,
    ],
    [
      "up",
      `${formatTime(Number(info.uptimeMillis))}, ` +
      `${formatBytes(Number(memory?.rssBytes ?? 0))} of memory`,
    ],
  ];
  if (raft === undefined) rows.push(["raft", "off"]);
  else rows.push(...raftRows(raft, answers));
  const isWaiting = raft?.groups.length === 0;
  rows.push(["kv", kv === undefined ? isWaiting ? "waits for the cluster" : "off" : kvLine(kv)]);
  const wrong = kv?.errors ?? [];
  if (wrong.length > 0) rows.push(["", wrong.join(", ")]);
  const view = membership && membershipReport(membership);
  rows.push(["members", view === undefined ? "off" : membersLine(view)]);
  if (view?.problem !== undefined) rows.push(["", view.problem]);
  return rows;
}

function raftRows(raft: RaftStatus, answers: Answers): string[][] {
  const group = raft.groups[0];
  if (group === undefined) {
    const waits = "none; this node waits for its founders, or for covey raft add";
    return [["cluster", raft.clusterId === "" ? waits : raft.clusterId]];
  }
  const peers = answers.peers?.peers ?? [];
  const nameOf = (replica: bigint): string => {
    const peer = peers.find((one) => one.replica === replica);
    return peer === undefined || peer.name === "" ? `replica ${replica}` : peer.name;
  };
  const leader = leaderOf(answers);
  const rows = [
    ["cluster", raft.clusterId],
    ["leader", `${leader === undefined ? "none" : nameOf(leader)}, term ${group.term}`],
    [
      "here",
      `${
        group.stopped === "" ? roleName(group.role) : "stopped"
      }, replica ${group.replica}, committed ${group.commitIndex}, ` +
      `applied ${group.appliedIndex}`,
    ],
  ];
  for (const [index, peer] of peers.entries()) {
    const what = peer.leader ? "leader" : suffrageName(peer.suffrage);
    const silent = peer.progress === "" || peer.active || peer.leader ? "" : ", silent";
    rows.push([
      index === 0 ? "peers" : "",
      `${peer.replica} ${peer.name} ${peer.address} (${what}${silent})`,
    ]);
  }
  if (peers.length === 0) rows.push(["voters", group.voters.join(", ")]);
  if (raft.log?.lowSpace === true) rows.push(["disk", "nearly full: writes are refused"]);
  return rows;
}

function membersLine({ state, epoch, members }: MembershipReport): string {
  const view = epoch === 0 ? "no view yet" : `${members.length} in view ${epoch}`;
  return state === "member" ? view : `${state}, ${view}`;
}

function kvLine(kv: KvStatus): string {
  const size = formatBytes(Number(kv.dbSize));
  return `revision ${kv.header?.revision ?? 0}, ${kv.keys} keys, ${size} of ` +
    `${formatBytes(Number(kv.dbQuota))}, ${kv.leases} leases, ${kv.watches} watches`;
}
