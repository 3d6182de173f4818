/** Operators change who is in the cluster while clients work and nodes die. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Suffrage } from "../../../src/gen/covey/raft/v1/raft_pb.ts";
import type { ClusterNode } from "../../support/cluster.ts";
import { type Lab, withLab } from "./lab.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { timed, until } from "./waiting.ts";

const writesAround = 150;
const changeMs = 40_000;
/** Small, so that an empty node has to be given a snapshot. */
const smallLog = {
  raft: { segment_bytes: "256KiB", snapshot_log_bytes: "256KiB", catch_up_bytes: "64KiB" },
};
/** Of what an empty node is to catch up with. */
const loadedKeys = 400;
const loadedBytes = 16_384;

async function replicaOf(lab: Lab, node: ClusterNode): Promise<bigint> {
  const { peers } = await lab.peers(await lab.leader());
  const found = peers.find(({ nodeId }) => nodeId === node.ready!.nodeId);
  assert.ok(found !== undefined, `${node.name} is no peer`);
  return found.replica;
}

/** Starts an empty node and has it added by a node that need not lead; how long that took. */
async function addNode(lab: Lab, node: ClusterNode, asked: ClusterNode): Promise<number> {
  await node.start();
  await until(
    `${node.name} waits to be added`,
    20_000,
    () => node.process!.output.includes("exists without this node"),
  );
  return await timed(async () => {
    const { peer } = await lab.raft(asked).add(
      { address: node.advertised },
      { timeoutMs: changeMs },
    );
    assert.equal(peer!.nodeId, node.ready!.nodeId);
    assert.equal(peer!.suffrage, Suffrage.VOTER);
  });
}

/** Fills the store, so that the log alone does not hold it any more. */
async function fill(lab: Lab): Promise<void> {
  const kv = lab.client({ sessions: false, timeoutMs: 20_000 });
  const keys = Array.from({ length: loadedKeys }, (_, at) => at);
  const workers = Array.from({ length: 16 }, async () => {
    for (let at = keys.pop(); at !== undefined; at = keys.pop()) {
      await kv.put(`filled/${at}`, "x".repeat(loadedBytes));
    }
  });
  await Promise.all(workers);
  await until("the log was cut behind a snapshot", 20_000, async () => {
    const { firstIndex } = await lab.group(await lab.leader());
    return firstIndex > 50n;
  });
}

test("processes: a dead node is replaced by an empty one under load", () =>
  withLab({ config: smallLog }, async (lab) => {
    await lab.start();
    await fill(lab);
    const node = await lab.cluster.add();
    const load = lab.load({ clients: lab.clients(6), seed: 14, timeoutMs: 5_000 });
    await load.acknowledged(writesAround);
    const [dead, asked] = await lab.followers();
    const deadReplica = await replicaOf(lab, dead);
    const sinceMs = performance.now();
    await dead.kill();
    const ms = await addNode(lab, node, asked);
    await lab.caughtUp(node);
    const { snapshotIndex, firstIndex } = await lab.group(node);
    assert.ok(snapshotIndex > 1n && firstIndex > 2n, "it was given a snapshot");
    await lab.raft(asked).remove({ replica: deadReplica }, { timeoutMs: changeMs });
    await load.acknowledged(writesAround);
    const { voters } = await lab.group(await lab.leader());
    assert.deepEqual([voters.length, voters.includes(deadReplica)], [3, false]);
    // It comes back with its data, and is told that it is out.
    await dead.start();
    const termBefore = await lab.term(lab.nodes.filter((one) => one !== dead));
    await until("the removed node knows", 20_000, async () => {
      const { groups } = await lab.status(dead);
      return /removed|no longer|not a member/i.test(dead.process!.output) || groups.length === 0;
    });
    await load.acknowledged(writesAround);
    await lab.electionsSince(termBefore, lab.nodes.filter((one) => one !== dead));
    await dead.kill();
    const gapMs = load.longestGapMs(sinceMs);
    await load.stop();
    await verify(lab);
    report(
      `an empty node was added under load in ${ms} ms, with ${
        Math.round(loadedKeys * loadedBytes / 1e6)
      } MB to catch up with; longest gap ${gapMs} ms; ${load.describe()}`,
    );
  }));

test("processes: all nodes are exchanged one by one, the leader included", () =>
  withLab({ config: smallLog }, async (lab) => {
    await lab.start();
    const founders = [await lab.leader(), ...await lab.followers()];
    // Clients know the nodes that will come, too.
    const added = [await lab.cluster.add(), await lab.cluster.add(), await lab.cluster.add()];
    const load = lab.load({ clients: lab.clients(6), seed: 15, timeoutMs: 5_000 });
    await load.acknowledged(writesAround);
    for (const [at, founder] of founders.entries()) {
      const node = added[at];
      const wasLeader = await lab.leader() === founder;
      const replica = await replicaOf(lab, founder);
      const ms = await addNode(lab, node, founder);
      const sinceMs = performance.now();
      await lab.raft(node).remove({ replica }, { timeoutMs: changeMs });
      await load.acknowledged(writesAround);
      report(
        `${
          wasLeader ? "leader" : "follower"
        } exchanged: added in ${ms} ms, longest gap since the ` +
          `removal ${load.longestGapMs(sinceMs)} ms`,
      );
      await founder.stop();
    }
    await load.acknowledged(writesAround);
    await load.stop();
    const { voters } = await lab.group(await lab.leader());
    assert.deepEqual(voters, [4n, 5n, 6n]);
    await verify(lab);
    report(load.describe());
  }));
