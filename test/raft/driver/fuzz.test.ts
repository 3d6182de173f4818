/**
 * Nodes are killed, cut off, paused and slowed down by chance while clients of all nodes propose and
 * read. Then everything heals, the nodes must agree, and every operation must have ended as it says.
 */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import type { SimulationOptions } from "../../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab } from "./lab.ts";

before(armBan);
after(liftBan);

const seeds = Number(process.env.COVEY_DRIVER_SEEDS ?? 2);

interface Read {
  readonly node: string;
  /** The last index that any client was told of before the read began. */
  readonly least: number;
  readonly seen: number;
}

async function fuzz(seed: number, faults: Partial<SimulationOptions>): Promise<string> {
  const lab = new Lab({
    seed,
    ...faults,
    raft: {
      snapshotLogBytes: 32 << 10,
      catchUpBytes: 8 << 10,
      segmentBytes: 32 << 10,
      requestMs: 3_000,
    },
  });
  const { simulation } = lab;
  const names = seed % 3 === 0 ? ["a", "b", "c", "d", "e"] : ["a", "b", "c"];
  await lab.found(...names);
  let running = true;
  let acknowledged = 0;
  const reads: Read[] = [];
  const random = simulation.random("clients");
  const propose = async (name: string): Promise<void> => {
    const node = lab.node(name);
    if (node.cluster.root === undefined) return;
    const operation = lab.propose(node, {
      bytes: random.below(600),
      timeoutMs: random.pick([500, 3_000, undefined]),
    });
    // The client of a node that dies hears nothing any more.
    const { result } = await lab.orDead(node, operation) ?? {};
    if (result !== undefined) acknowledged = Math.max(acknowledged, result.index);
  };
  const read = async (name: string): Promise<void> => {
    const node = lab.node(name);
    if (node.cluster.root === undefined) return;
    const least = acknowledged;
    const barrier = node.root.barrier({ timeoutMs: 2_000 }).then(() => true, () => false);
    if (await lab.orDead(node, barrier) !== true || node.root.isRestoring) return;
    reads.push({ node: name, least, seen: node.machine.appliedIndex });
  };
  let clients = 0;
  for (const name of [...names, ...names]) {
    for (const work of [propose, read]) {
      clients++;
      void (async () => {
        while (running) {
          await work(name);
          await lab.sleep(random.between(1, 60));
        }
        clients--;
      })();
    }
  }
  await lab.pass(12_000);
  simulation.calmDown();
  for (const name of names) {
    const machine = lab.machine(name);
    machine.resume();
    machine.unstick();
    if (!machine.running) lab.start(name);
  }
  running = false;
  await lab.until(() => clients === 0, 30_000);
  for (const { name, fatal } of lab.alive) assert.deepEqual(fatal, [], name);
  await lab.leader(names, 30_000);
  await lab.put(await lab.leader(names), 3);
  await lab.converged(names, 60_000);
  const { ok, refused, unknown } = lab.checkOperations();
  for (const { node, least, seen } of reads) {
    assert.ok(seen >= least, `a read of ${node} saw ${seen} after ${least} was acknowledged`);
  }
  assert.ok(ok > 50, `${ok} proposals were applied\n${lab.describe()}`);
  assert.ok(reads.length > 50, `${reads.length} reads`);
  for (const name of names) {
    const { root } = lab.node(name);
    assert.equal(root.stopped, undefined);
    assert.deepEqual(root.pending, { proposals: 0, reads: 0 });
  }
  assert.deepEqual(lab.handlerErrors, []);
  return `${ok} applied, ${refused} refused, ${unknown} unknown, ${reads.length} reads`;
}

const worlds: Readonly<Record<string, Partial<SimulationOptions>>> = {
  "processes are killed": {
    nemesis: { killEveryMs: 1_500, lastsMs: [100, 2_000], untilMs: 11_000 },
  },
  "machines lose their power": {
    tornWriteChance: 0.7,
    nemesis: {
      powerLossEveryMs: 2_000,
      crashEveryMs: 3_000,
      lastsMs: [100, 2_000],
      untilMs: 11_000,
    },
  },
  "the network is cut": {
    latencyMs: [0.3, 10],
    stallResetMs: 5_000,
    nemesis: {
      partitionEveryMs: 2_000,
      oneWayCutEveryMs: 3_000,
      connectionResetEveryMs: 1_000,
      slowLinkEveryMs: 4_000,
      slowLinkBytesPerSecond: [16 << 10, 128 << 10],
      lastsMs: [100, 4_000],
      untilMs: 11_000,
    },
  },
  "machines stand still": {
    slowSyncChance: 0.05,
    slowSyncMs: [20, 1_500],
    clockSkewMs: 500,
    clockDriftPpm: 200,
    nemesis: {
      pauseEveryMs: 1_500,
      stuckPeerEveryMs: 2_500,
      clockJumpEveryMs: 2_000,
      lastsMs: [100, 3_000],
      untilMs: 11_000,
    },
  },
  "everything at once": {
    latencyMs: [0.3, 20],
    jitterMs: [0, 5],
    splitChance: 0.05,
    connectionResetChance: 0.0005,
    stallResetMs: 10_000,
    slowSyncChance: 0.02,
    tornWriteChance: 0.7,
    clockDriftPpm: 100,
    nemesis: {
      killEveryMs: 4_000,
      powerLossEveryMs: 5_000,
      partitionEveryMs: 4_000,
      oneWayCutEveryMs: 5_000,
      pauseEveryMs: 4_000,
      stuckPeerEveryMs: 6_000,
      clockJumpEveryMs: 5_000,
      lastsMs: [100, 3_000],
      untilMs: 11_000,
    },
  },
};

for (const [title, faults] of Object.entries(worlds)) {
  test(`while ${title}, every operation ends as it says`, async () => {
    for (let seed = 1; seed <= seeds; seed++) {
      try {
        const told = await fuzz(seed, faults);
        if (process.env.COVEY_DRIVER_SEEDS !== undefined) {
          console.log(`${title}, seed ${seed}: ${told}`);
        }
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`, {
          cause: error,
        });
      }
    }
  });
}
