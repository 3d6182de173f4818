/** Rows of what goes wrong, and of what must not happen: failover, false elections, idle syncs. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, both, type Group, withCluster } from "./kv_bench.ts";
import type { BenchCluster, Peer } from "./kv_peers.ts";
import { median, medianRatio, milliseconds } from "./kv_table.ts";
import type { SyncControl } from "./slow_sync.ts";

const kills = 10;
const failoverMeasure =
  "kill -9 of the leader to the next successful write, default timeouts (median, max of 10)";

/** A put is begun each 10 ms at each of those that are left, so that no client's patience counts. */
export const failover: Group = {
  name: "failover",
  measures: [failoverMeasure],
  async run(bench) {
    const took = both<number>();
    for (const peer of bench.peers) {
      await withCluster(peer, {}, async (cluster, load) => {
        for (let kill = 0; kill < kills; kill++) {
          const leader = await cluster.leader();
          for (const node of cluster.nodes) await cluster.caughtUp(node);
          // The terms of elections drift apart only with time; not every kill meets fresh timers.
          await sleep(500 + kill * 137);
          const left = cluster.nodes.filter((node) => node !== leader);
          await load.connectEach(left.map((node) => node.address));
          const sinceMs = performance.timeOrigin + performance.now();
          const killed = leader.kill();
          took[peer.name].push(await load.firstWriteMs(sinceMs, 30_000));
          await killed;
          await leader.spawn();
          await cluster.serves(leader);
        }
        bench.note(`${peer.name}: ${took[peer.name].map((ms) => ms.toFixed(0)).join(" ")} ms`);
      });
    }
    const cell = (side: readonly number[]): string =>
      side.length === 0
        ? ""
        : `${milliseconds(median(side))} ms, ${milliseconds(Math.max(...side))} ms`;
    return [{
      measure: failoverMeasure,
      covey: cell(took.covey),
      etcd: cell(took.etcd),
      ratio: medianRatio(took.covey, took.etcd),
      reach: "≤ 600 ms, ≤ 2 s",
    }];
  },
};

// ---------------------------------------------------------------------------------------------

const badMinutes = 10;
const electionsMeasure = `false elections in ${badMinutes} min at 150 ± 50 ms round trip, 1 % ` +
  "loss, a 1 s disk stall every 10 s, the same defaults";

interface Watched {
  readonly elections: number;
  readonly operations: number;
  readonly errors: number;
}

async function watchElections(
  bench: Bench,
  peer: Peer,
  controls: readonly SyncControl[],
  seconds: number,
): Promise<Watched> {
  const network = { delayMs: 75, jitterMs: 25, loss: 0.01 };
  const options = {
    relaySeed: 1,
    network,
    wrap: (command: readonly string[], index: number) => controls[index].wrap(command),
  };
  return await withCluster(peer, options, async (cluster, load) => {
    await load.connectEach(cluster.nodes.map((node) => node.address));
    const before = await cluster.term();
    for (const [index, control] of controls.entries()) {
      control.set({ stallMs: 1000, everyMs: 10_000, offsetMs: index * 3300 });
    }
    await load.begin({ rate: 10, clients: 64 });
    await sleep(seconds * 1000);
    const { operations, errors } = await load.end();
    const after = await cluster.term();
    bench.note(`${peer.name}: term ${before} to ${after}, ${operations} puts, ${errors} failed`);
    return { elections: after - before, operations, errors };
  });
}

/** Both at the same time: the load is light, and each has a network and a disk of its own. */
export const elections: Group = {
  name: "elections",
  measures: [electionsMeasure],
  async run(bench) {
    const { slowSync } = bench;
    if (slowSync === undefined) {
      bench.note("skipped: false elections, because syncs cannot be delayed here");
      return [];
    }
    const seconds = bench.all ? badMinutes * 60 : 60;
    const watched = await Promise.all(
      bench.peers.map(async (peer) => {
        const controls = [0, 1, 2].map(() => slowSync.control());
        try {
          return [peer.name, await watchElections(bench, peer, controls, seconds)] as const;
        } finally {
          for (const control of controls) control.close();
        }
      }),
    );
    const cell = (name: string): string => {
      const found = watched.find(([peer]) => peer === name)?.[1];
      if (found === undefined) return "";
      const failed = found.errors === 0
        ? ""
        : `, ${found.errors} of ${found.operations} puts failed`;
      return `${found.elections}${failed}`;
    };
    return [{
      measure: bench.all
        ? electionsMeasure
        : electionsMeasure.replace(`${badMinutes} min`, `${seconds} s`),
      covey: cell("covey"),
      etcd: cell("etcd"),
      ratio: "",
      reach: "0",
    }];
  },
};

// ---------------------------------------------------------------------------------------------

const idleMeasure = "syncs per second and node, idle (bytes written per second, CPU)";
const idleSettleMs = 10_000;
const idleMs = 30_000;

interface Idle {
  readonly syncs: number;
  readonly bytes: number;
  readonly cpuMs: number;
}

function idleNow(cluster: BenchCluster, controls: readonly SyncControl[]): Idle {
  const usages = cluster.nodes.map((node) => node.usage());
  return {
    syncs: controls.reduce((sum, control) => sum + control.syncs, 0),
    bytes: usages.reduce((sum, usage) => sum + usage.writtenBytes, 0),
    cpuMs: usages.reduce((sum, usage) => sum + usage.cpuMs, 0),
  };
}

export const idle: Group = {
  name: "idle",
  measures: [idleMeasure],
  async run(bench) {
    const { slowSync } = bench;
    if (slowSync === undefined) {
      bench.note("skipped: idle syncs, because they cannot be counted here");
      return [];
    }
    const cells = both<string>();
    for (const peer of bench.peers) {
      const controls = [0, 1, 2].map(() => slowSync.control());
      const wrap = (command: readonly string[], index: number): string[] =>
        controls[index].wrap(command);
      await withCluster(peer, { wrap }, async (cluster) => {
        await sleep(idleSettleMs);
        const before = idleNow(cluster, controls);
        await sleep(idleMs);
        const after = idleNow(cluster, controls);
        const per = 3 * idleMs / 1000;
        const syncs = ((after.syncs - before.syncs) / per).toFixed(2).replace(/\.?0+$/, "");
        const bytes = Math.round((after.bytes - before.bytes) / per);
        const cpu = ((after.cpuMs - before.cpuMs) / (3 * idleMs) * 100).toFixed(1);
        cells[peer.name].push(`${syncs} (${bytes}, ${cpu} %)`);
      });
      for (const control of controls) control.close();
    }
    return [{
      measure: idleMeasure,
      covey: cells.covey.join(),
      etcd: cells.etcd.join(),
      ratio: "",
      reach: "0",
    }];
  },
};
