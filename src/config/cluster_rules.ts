/** The rules between the keys of `[cluster]`, `[raft]` and `[kv]`, and what they lean on. */
import { type Address, parseAddress } from "../base/address.ts";
import type { RuleProblem } from "./rules.ts";
import type { Config } from "./types.ts";
import { formatDuration, formatSize } from "./units.ts";

/** Room in a message for what is around a command. */
const envelopeBytes = 4096;
/** No command limit is below this. */
const requestBytesLeast = 1024;

/** The largest command that fits into a message, and into what a leader takes at once. */
export function requestBytesThatFit({ rpc, raft }: Pick<Config, "rpc" | "raft">): number {
  const bytes = Math.min(rpc.message_bytes_max - envelopeBytes, raft.uncommitted_bytes_max);
  return Math.max(requestBytesLeast, bytes);
}

/** The hosts that stand for every address of the machine. */
const wildcards: readonly string[] = ["0.0.0.0", "::"];

/** Whether it names every address of the machine, and so none that could be dialled. */
export function isWildcard(address: Address): boolean {
  return address.kind === "tcp" && wildcards.includes(address.host);
}

/** With `dev`, the node is a cluster of its own. */
export function checkCluster(config: Config, dev: boolean): RuleProblem[] {
  const { join, expect } = config.cluster;
  const problems: RuleProblem[] = [];
  const say = (key: string, message: string): void => {
    problems.push({ path: ["cluster", key], message });
  };
  if (dev && join.length > 0) {
    say(
      "join",
      "found addresses with --dev, which keeps a single node in memory; allowed: an empty list, " +
        "or a start without --dev",
    );
    return problems;
  }
  if (join.length === 0 && expect > 1) {
    say(
      "expect",
      `found ${expect} while cluster.join is empty, so that nobody would be found; allowed: the ` +
        "addresses of the others in cluster.join, or 0 for a cluster of this node alone",
    );
  }
  if (join.length > 0 && expect === 1) {
    say(
      "expect",
      "found 1 while cluster.join names other nodes; allowed: 0 for exactly those nodes, their " +
        "number, or an empty cluster.join for a cluster of this node alone",
    );
  }
  return [...problems, ...checkJoin(config), ...checkAdvertised(config)];
}

function checkJoin({ cluster, tls }: Config): RuleProblem[] {
  const problems: RuleProblem[] = [];
  for (const [index, text] of cluster.join.entries()) {
    const address = parseAddress(text);
    const path = ["cluster", "join", index];
    const found = `found ${JSON.stringify(text)}, which`;
    if (isWildcard(address)) {
      const message = `${found} stands for every address of one machine; allowed: one that this ` +
        "node can dial";
      problems.push({ path, message });
    } else if (address.kind !== "unix" && tls.mode === undefined) {
      // Nodes let nobody in who has no certificate, unless the operator has said so.
      const message = `${found} would not let this node in without TLS; allowed: tls.mode = "on" ` +
        `with its three files, or tls.mode = "off" written out for plaintext`;
      problems.push({ path, message });
    }
  }
  return problems;
}

/** Others must learn where they reach this node. */
function checkAdvertised({ cluster, node }: Config): RuleProblem[] {
  if (node.advertise !== undefined) {
    if (!isWildcard(parseAddress(node.advertise))) return [];
    return [{
      path: ["node", "advertise"],
      message: `found ${JSON.stringify(node.advertise)}, which nobody else can dial; allowed: ` +
        "the address under which other nodes reach this one",
    }];
  }
  const first = node.listen[0];
  if (cluster.join.length === 0 || !isWildcard(parseAddress(first))) return [];
  return [{
    path: ["node", "listen", 0],
    message: `found ${JSON.stringify(first)}, which the other nodes of cluster.join cannot dial; ` +
      "allowed: with node.advertise, the address under which they reach this one",
  }];
}

/** Nodes talk in frames: appends that gathered, and what is around them. */
const frameBytes = 64 << 10;
const messageBytesLeast = 256 << 10;

/** What nodes send each other must fit into a message. */
function checkFrames({ raft, rpc }: Config): RuleProblem[] {
  const message = formatSize(rpc.message_bytes_max);
  if (rpc.message_bytes_max < messageBytesLeast) {
    return [{
      path: ["rpc", "message_bytes_max"],
      message: `found "${message}", which is too little for what nodes with consensus send each ` +
        `other; allowed: "${formatSize(messageBytesLeast)}" or more, or raft.enabled = false`,
    }];
  }
  const most = rpc.message_bytes_max - frameBytes;
  if (raft.append_bytes_max <= most) return [];
  return [{
    path: ["raft", "append_bytes_max"],
    message: `found "${formatSize(raft.append_bytes_max)}", which does not fit into a message of ` +
      `rpc.message_bytes_max with ${formatSize(frameBytes)} around it; allowed: up to ` +
      `"${formatSize(most)}", or a larger rpc.message_bytes_max`,
  }];
}

/** Timers and sizes that must fit each other. */
export function checkConsensus(config: Config): RuleProblem[] {
  const { raft, kv } = config;
  const problems: RuleProblem[] = [];
  if (raft.election_timeout < 3 * raft.heartbeat_interval) {
    const [election, heartbeat] = [raft.election_timeout, raft.heartbeat_interval];
    problems.push({
      path: ["raft", "election_timeout"],
      message: `found "${formatDuration(election)}", which is less than three times ` +
        `raft.heartbeat_interval; allowed: "${formatDuration(3 * heartbeat)}" or more`,
      unlessWritten: {
        path: ["raft", "heartbeat_interval"],
        message: `found "${formatDuration(heartbeat)}", which is more than a third of ` +
          `raft.election_timeout; allowed: up to "${formatDuration(Math.floor(election / 3))}", ` +
          "or a longer raft.election_timeout",
      },
    });
  }
  if (raft.append_bytes_max > raft.inflight_bytes_max) {
    const [append, inflight] = [raft.append_bytes_max, raft.inflight_bytes_max].map(formatSize);
    problems.push({
      path: ["raft", "inflight_bytes_max"],
      message: `found "${inflight}", which is less than raft.append_bytes_max; allowed: ` +
        `"${append}" or more`,
      unlessWritten: {
        path: ["raft", "append_bytes_max"],
        message: `found "${append}", which is more than raft.inflight_bytes_max; allowed: up to ` +
          `"${inflight}"`,
      },
    });
  }
  if (raft.enabled) problems.push(...checkFrames(config));
  if (!kv.enabled) return problems;
  if (!raft.enabled) {
    problems.push({
      path: ["raft", "enabled"],
      message: "found false, but the key-value store needs it; allowed: true, or false with " +
        "kv.enabled = false",
    });
  }
  const fit = requestBytesThatFit(config);
  if (kv.request_bytes_max > fit) {
    problems.push({
      path: ["kv", "request_bytes_max"],
      message: `found "${formatSize(kv.request_bytes_max)}", which does not fit ` +
        `rpc.message_bytes_max and raft.uncommitted_bytes_max; allowed: up to ` +
        `"${formatSize(fit)}"`,
    });
  }
  return problems;
}
