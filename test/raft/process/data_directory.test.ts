/**
 * Data directories that were lost, mixed up or damaged. A replica that has forgotten what it promised
 * must not take part; whoever refuses says why in one line, and the others go on.
 */
import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import type { ClusterNode } from "../../support/cluster.ts";
import { type Lab, withLab } from "./lab.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { until, watchFor } from "./waiting.ts";

const writesAround = 60;
/** Several election timeouts. */
const absentMs = 1_500;
/** Small, so that there are several segments and snapshots to damage. */
const smallLog = { raft: { segment_bytes: "256KiB", snapshot_log_bytes: "128KiB" } };

/** Copies a data directory; sockets are no data. */
function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, filter: (path) => !path.endsWith(".sock") });
}

/** Starts it where it has to refuse: one line that says why, exit code 1, nothing else. */
async function assertRefused(node: ClusterNode, line: RegExp): Promise<void> {
  await node.spawn();
  const exit = await Promise.race([node.process!.exit, node.untilReady().catch(() => undefined)]);
  assert.ok(exit !== undefined && "code" in exit, `${node.name} serves: ${node.process!.output}`);
  assert.equal(exit.code, 1, node.process!.output);
  assertOneLine(node, line);
}

function assertOneLine(node: ClusterNode, line: RegExp): void {
  const { output } = node.process!;
  assert.match(output, line);
  const own = output.split("\n").filter((text) => text.startsWith("covey: "));
  assert.equal(own.length, 1, output);
  assert.doesNotMatch(output, /\n\s+at /, "no stack trace");
}

/** One follower down, with a copy of what it had. */
async function takeDown(lab: Lab, backup: string): Promise<ClusterNode> {
  const [node] = await lab.followers();
  await node.kill();
  copy(node.dataFolder, backup);
  return node;
}

/** Files of the log, the newest last. */
function segments(data: string): string[] {
  return filesBelow(join(data, "raft/log")).filter((file) => file.includes("/wal-"));
}

/** Without the empty space at the end that was only reserved. */
function usedBytes(file: string): number {
  const bytes = readFileSync(file);
  let used = bytes.length;
  while (used > 0 && bytes[used - 1] === 0) used--;
  return used;
}

interface Loss {
  readonly name: string;
  /** What became of the folder while the node was down. */
  lose(data: string, other: string): void;
  readonly line: RegExp;
}

const losses: readonly Loss[] = [
  {
    name: "the folder of the log is gone",
    lose: (data) => rmSync(join(data, "raft"), { recursive: true }),
    line: /^covey: .*\/raft\/log: the log is gone.*remove it from the cluster and add a new one/m,
  },
  {
    name: "only the log is gone",
    lose: (data) => rmSync(join(data, "raft/log"), { recursive: true }),
    line: /^covey: .*\/raft\/log: the log is gone/m,
  },
  {
    name: "the snapshots are gone",
    lose: (data) => rmSync(join(data, "raft/snapshots"), { recursive: true }),
    line: /^covey: .*\/raft\/snapshots, group 0: .* is gone/m,
  },
  {
    name: "a part in the middle of the log is gone",
    lose: (data) => rmSync(segments(data).at(-2)!),
    line: /^covey: .*\/raft\/log/m,
  },
  {
    name: "the newest part of the log was cut off",
    lose: (data) => {
      const file = segments(data).at(-1)!;
      truncateSync(file, Math.floor(usedBytes(file) / 2));
    },
    line:
      /^covey: .*\/wal-[0-9a-f]+\.log at byte \d+: ends here.*"covey raft remove \d+".*"covey raft add tcp:.*"/m,
  },
  {
    name: "the newest part of the log was cut off behind what it holds",
    lose: (data) => {
      const file = segments(data).at(-1)!;
      truncateSync(file, usedBytes(file));
    },
    line: /^covey: .*\/wal-[0-9a-f]+\.log at byte \d+: ends here/m,
  },
  {
    name: "the newest part of the log is gone",
    lose: (data) => rmSync(segments(data).at(-1)!),
    line: /^covey: .*\/wal-[0-9a-f]+\.log: is missing: segment \d+ says .*"covey raft remove \d+"/m,
  },
  {
    name: "the log is another node's",
    lose: (data, other) => copy(join(other, "raft"), join(data, "raft")),
    line: /^covey: .*\/identity\.json: the log belongs to node [0-9a-f]{32}, not [0-9a-f]{32}/m,
  },
  {
    name: "the node's own id is gone",
    lose: (data) => rmSync(join(data, "node.json")),
    line: /^covey: .*(the log belongs to|membership is of) node [0-9a-f]{32}, not/m,
  },
  {
    name: "cluster.json is gone",
    lose: (data) => rmSync(join(data, "cluster.json")),
    line: /^covey: .*\/cluster\.json is missing, and the log of a replica is there: /m,
  },
  {
    name: "cluster.json is empty",
    lose: (data) => writeFileSync(join(data, "cluster.json"), ""),
    line: /^covey: .*\/cluster\.json is not JSON: /m,
  },
];

test("processes: a replica that forgot what it promised does not take part", () =>
  withLab({ config: smallLog }, async (lab) => {
    await lab.start();
    const load = lab.load({
      clients: lab.clients(4),
      seed: 10,
      timeoutMs: 5_000,
      padding: 1_000,
    });
    await load.acknowledged(10 * writesAround);
    const backup = join(lab.cluster.folder, "backup");
    const node = await takeDown(lab, backup);
    const other = lab.nodes.find((one) => one.isRunning)!;
    for (const { name, lose, line } of losses) {
      lose(node.dataFolder, other.dataFolder);
      await assertRefused(node, line).catch((error) => {
        throw new Error(`${name}: ${error.message}`, { cause: error });
      });
      await load.acknowledged(writesAround);
      copy(backup, node.dataFolder);
    }
    // With what it had, it is what it was.
    await node.start();
    await lab.caughtUp(node);
    await load.stop();
    await verify(lab);
    report(`${losses.length} losses refused; ${load.describe()}`);
  }));

test("processes: a replica whose log is an older one stops as soon as it is counted on", () =>
  withLab({
    config: { ...smallLog, admin: { enabled: true, listen: "tcp://127.0.0.1:0" } },
  }, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(4), seed: 13, timeoutMs: 5_000, padding: 1_000 });
    await load.acknowledged(writesAround);
    const backup = join(lab.cluster.folder, "backup");
    const node = await takeDown(lab, backup);
    await load.acknowledged(writesAround);
    await node.start();
    await lab.caughtUp(node);
    await load.acknowledged(writesAround);
    await node.kill();
    const term = await lab.term();
    // What was acknowledged since then is gone, and nothing on this disk says so.
    copy(join(backup, "raft"), join(node.dataFolder, "raft"));
    await node.start();
    await until(
      "it says what is wrong",
      20_000,
      () => /acknowledged are gone from its log.*remove the replica/.test(node.process!.output),
    );
    const ready = await fetch(`${adminOf(node)}/readyz`);
    assert.equal(ready.status, 503, await ready.text());
    await load.acknowledged(writesAround);
    await lab.electionsSince(term, lab.cluster.running.filter((one) => one !== node));
    await node.kill();
    await load.stop();
  }));

function adminOf(node: ClusterNode): string {
  return node.ready!.listeners.admin.replace("tcp://", "http://");
}

interface Flip {
  readonly file: string;
  readonly at: number;
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name !== "lock")
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Two places of each file, where it is not empty space that was only reserved. */
function drawFlips(folder: string, prng: Prng): Flip[] {
  return filesBelow(folder).flatMap((file) => {
    const used = usedBytes(file);
    if (used === 0) return [];
    // The last bytes of a log cannot be told from a write that a crash cut off.
    const half = Math.max(1, Math.floor(used / 2));
    return [prng.below(half), prng.below(half)].map((at) => ({ file, at }));
  });
}

/** What a node did with a flipped bit. */
async function withFlip(lab: Lab, node: ClusterNode, { file, at }: Flip): Promise<string> {
  const bytes = readFileSync(file);
  const before = bytes[at];
  bytes[at] ^= 1 << (at % 8);
  writeFileSync(file, bytes);
  const where = `bit ${at % 8} of byte ${at} of ${file.slice(node.dataFolder.length + 1)}`;
  await node.spawn();
  const exit = await Promise.race([node.process!.exit, node.untilReady().catch(() => undefined)]);
  if (exit !== undefined && "code" in exit) {
    assert.equal(exit.code, 1, `${where}: ${node.process!.output}`);
    assertOneLine(node, /^covey: .*\/data\/.*: /m);
    return "refused";
  }
  // It went on: then it holds what the others hold, and is who it was.
  try {
    await lab.caughtUp(node, 10_000);
    await lab.converged();
  } catch (error) {
    const was = String.fromCharCode(before);
    const is = String.fromCharCode(bytes[at]);
    throw new Error(`${where} (${was} became ${is}): ${(error as Error).message}`, {
      cause: error,
    });
  }
  await node.kill();
  return "harmless";
}

test("processes: a flipped bit anywhere is refused or does no harm", () =>
  withLab({ config: smallLog }, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(4), seed: 11, padding: 500 });
    await load.acknowledged(800);
    await load.stop();
    await verify(lab);
    const backup = join(lab.cluster.folder, "backup");
    const node = await takeDown(lab, backup);
    const outcomes = { refused: 0, harmless: 0 };
    for (const flip of drawFlips(node.dataFolder, new Prng(11))) {
      const outcome = await withFlip(lab, node, flip);
      outcomes[outcome as keyof typeof outcomes]++;
      copy(backup, node.dataFolder);
    }
    await node.start();
    await verify(lab);
    assert.ok(outcomes.refused > 0);
    report(`flipped bits: ${JSON.stringify(outcomes)}`);
  }));

test("processes: copies, ghosts and nodes that lost everything stay out until they are added", () =>
  withLab({}, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(4), seed: 12, timeoutMs: 5_000 });
    await load.acknowledged(writesAround);
    const backup = join(lab.cluster.folder, "backup");
    const node = await takeDown(lab, backup);
    const [other] = lab.cluster.running;
    const oldReplica = await replicaOf(lab, node);
    const term = await lab.term();
    const members = lab.cluster.running;

    // A copy of a node that runs: nobody talks to it.
    copy(other.dataFolder, node.dataFolder);
    await node.start();
    await until(
      "somebody says that there is a copy",
      20_000,
      () =>
        lab.cluster.running.some(({ process }) =>
          process!.output.includes("two processes run with one node id")
        ),
    );
    await load.acknowledged(writesAround);
    await lab.electionsSince(term, members);
    await node.kill();

    // Of a founder only its id is left. It may refuse or wait, but it must not vote again under the
    // name that it had.
    copy(backup, node.dataFolder);
    rmSync(join(node.dataFolder, "cluster.json"));
    rmSync(join(node.dataFolder, "raft"), { recursive: true });
    await node.start();
    await until(
      "it says that its data is gone",
      10_000,
      () => /lost|is gone|remove/.test(node.process!.output),
    );
    const isActive = async (): Promise<boolean> => {
      const { peers } = await lab.peers(other);
      return peers.find(({ name }) => name === node.name)!.active;
    };
    await until("its replica is gone for the others", 10_000, async () => !(await isActive()));
    await watchFor(absentMs, async () => assert.equal(await isActive(), false, "it takes part"));
    await load.acknowledged(writesAround);
    await lab.electionsSince(term, members);
    await node.kill();

    // Nothing left at all: a node that nobody knows, at the old one's address.
    rmSync(node.dataFolder, { recursive: true });
    assert.ok(!existsSync(node.dataFolder));
    await node.start();
    await until(
      "it says that it waits",
      20_000,
      () => node.process!.output.includes("exists without this node"),
    );
    await load.acknowledged(writesAround);
    await lab.electionsSince(term, members);

    // The operator takes the old replica out and the new node in.
    const raft = lab.raft(other);
    await raft.remove({ replica: oldReplica }, { timeoutMs: 20_000 });
    const { peer } = await raft.add({ address: node.advertised }, { timeoutMs: 30_000 });
    assert.notEqual(peer!.replica, oldReplica);
    assert.equal(peer!.nodeId, node.ready!.nodeId);
    await lab.caughtUp(node);
    await load.acknowledged(writesAround);
    await load.stop();
    await verify(lab);
    report(`a node that lost everything is replica ${peer!.replica} now; ${load.describe()}`);
  }));

test("processes: two processes never share a data directory", () =>
  withLab({}, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(4), seed: 22, timeoutMs: 5_000 });
    const leader = await lab.leader();
    const term = await lab.term();
    // A process of the same configuration but for where it listens.
    const second = await lab.cluster.add({ node: { data: leader.dataFolder } });
    await assertRefused(second, /^covey: data directory .* is in use by another covey agent/m);
    await load.acknowledged(writesAround);
    await lab.electionsSince(term);
    // The lock is the kernel's: it is gone with the process, whatever ended it.
    await leader.kill();
    await leader.start();
    await lab.caughtUp(leader);
    await load.acknowledged(writesAround);
    await load.stop();
    await verify(lab);
  }));

/** By the name that it has among the peers. */
async function replicaOf(lab: Lab, node: ClusterNode): Promise<bigint> {
  const { peers } = await lab.peers(lab.cluster.running[0]);
  return peers.find(({ name }) => name === node.name)!.replica;
}
