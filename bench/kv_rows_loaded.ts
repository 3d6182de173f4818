/** Rows of a store that holds much: memory, restart, and what bulk work does to puts meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, both, type Group, settleMs, withCluster } from "./kv_bench.ts";
import type { LoadProcess } from "./kv_commands.ts";
import { type BenchCluster, type BenchNode, CoveyCluster } from "./kv_peers.ts";
import { StallWatch } from "./kv_stalls.ts";
import { median, medianRatio, megabytes, milliseconds, type Row } from "./kv_table.ts";
import type { WorkResult } from "./kv_work.ts";

const keys = 200_000;
const fillClients = 64;

const loadedMeasure = "200,000 keys × 256 B loaded: RSS per node, the largest";
const overwrittenMeasure = "the same after 1,000,000 overwrites with auto-compaction";
const readyMeasure = "kill -9 → ready, loaded and overwritten as above (median, max of 3)";

async function fill(load: LoadProcess, node: BenchNode): Promise<void> {
  await load.connect([node.address], fillClients);
  await load.total({ total: keys, keys, inOrder: true, clients: fillClients, retry: true });
}

function largestRssKB(cluster: BenchCluster): number {
  return Math.max(...cluster.nodes.map((node) => node.usage().rssKB));
}

/** Kills each node in turn; the milliseconds from each start to its first linearizable answer. */
async function restarts(cluster: BenchCluster): Promise<number[]> {
  const took: number[] = [];
  for (const node of cluster.nodes) {
    await node.kill();
    const begunMs = performance.now();
    await node.spawn();
    await cluster.serves(node);
    took.push(performance.now() - begunMs);
    await cluster.caughtUp(node);
  }
  return took;
}

/** Long: with `--all` a million overwrites, else a tenth, which is noted in the row. */
export const memory: Group = {
  name: "memory",
  measures: [loadedMeasure, overwrittenMeasure, readyMeasure],
  async run(bench) {
    const overwrites = bench.all ? 1_000_000 : 100_000;
    const loaded = both<number>();
    const overwritten = both<number>();
    const ready = both<number>();
    for (const peer of bench.peers) {
      await withCluster(peer, { compaction: true }, async (cluster, load) => {
        await fill(load, await cluster.leader());
        await sleep(settleMs);
        loaded[peer.name].push(largestRssKB(cluster));
        const work = { total: overwrites, keys, clients: fillClients, retry: true };
        const done = await load.total(work);
        bench.note(`${peer.name}: ${overwrites} overwrites in ${done.seconds.toFixed(0)} s`);
        await sleep(settleMs);
        overwritten[peer.name].push(largestRssKB(cluster));
        ready[peer.name].push(...await restarts(cluster));
      });
    }
    const row = (measure: string, covey: string, etcd: string, ratio: string, reach: string) => ({
      measure: bench.all ? measure : measure.replace("1,000,000", "100,000"),
      covey,
      etcd,
      ratio,
      reach,
    });
    const rss = (side: readonly number[]): string =>
      side.length === 0 ? "" : megabytes(median(side));
    const time = (side: readonly number[]): string =>
      side.length === 0
        ? ""
        : `${milliseconds(median(side))} ms, ${milliseconds(Math.max(...side))} ms`;
    return [
      row(
        loadedMeasure,
        rss(loaded.covey),
        rss(loaded.etcd),
        medianRatio(loaded.covey, loaded.etcd),
        "≤ etcd's",
      ),
      row(
        overwrittenMeasure,
        rss(overwritten.covey),
        rss(overwritten.etcd),
        medianRatio(overwritten.covey, overwritten.etcd),
        "≤ etcd's",
      ),
      row(readyMeasure, time(ready.covey), time(ready.etcd), "", "≤ 2 s"),
    ];
  },
};

// ---------------------------------------------------------------------------------------------

const rate = 1000;
const openClients = 256;
const quietSeconds = 10;
const snapshots = 5;
const snapshotMeasure = "put p99 at 1,000/s while snapshots are taken (quiet), 200,000 keys";
const catchUpMeasure = "put p99 at 1,000/s while an empty node catches up (quiet), 200,000 keys";
const stallMeasure = "longest loop stall meanwhile, of any node";

/** The p99 of one window, in milliseconds. */
function p99(result: WorkResult, name: string): number | undefined {
  const found = result.windows.find((window) => window.name === name);
  return found === undefined ? undefined : found.latencyMicros.p99 / 1000;
}

/** What became of puts while other work was done, and of the nodes' loops meanwhile. */
interface Disturbed {
  readonly result: WorkResult;
  readonly stall: string | undefined;
}

async function disturbed(
  bench: Bench,
  cluster: BenchCluster,
  load: LoadProcess,
): Promise<Disturbed> {
  const leader = await cluster.leader();
  await fill(load, leader);
  await sleep(settleMs);
  await load.connect([leader.address], openClients);
  await load.begin({ rate, keys, clients: openClients });
  await sleep(2000);
  // Not while the keys are filled in: a loop under as much load as it takes is always behind.
  const watch = cluster instanceof CoveyCluster ? StallWatch.of(cluster) : undefined;
  await load.mark("quiet");
  await sleep(quietSeconds * 1000);
  if (cluster instanceof CoveyCluster) {
    for (let round = 0; round < snapshots; round++) {
      await load.mark("snapshot");
      const begunMs = performance.now();
      const bytes = await cluster.snapshot(leader);
      bench.note(`a snapshot of ${bytes} bytes in ${Math.round(performance.now() - begunMs)} ms`);
      await load.mark("between");
      await sleep(500);
    }
  }
  await load.mark("catch up");
  const begunMs = performance.now();
  await cluster.caughtUp(await cluster.grow());
  bench.note(
    `${cluster.peer}: an empty node caught up in ${Math.round(performance.now() - begunMs)} ms`,
  );
  await load.mark("after");
  return { result: await load.end(), stall: await watch?.stop() };
}

export const interference: Group = {
  name: "interference",
  measures: [snapshotMeasure, catchUpMeasure, stallMeasure],
  async run(bench) {
    const results = both<WorkResult>();
    const stalls: string[] = [];
    const config = { admin: { enabled: true, listen: "tcp://127.0.0.1:0" } };
    for (let round = 0; round < bench.rounds; round++) {
      for (const peer of bench.peers) {
        await withCluster(peer, { config }, async (cluster, load) => {
          const { result, stall } = await disturbed(bench, cluster, load);
          results[peer.name].push(result);
          if (stall !== undefined) stalls.push(stall);
        });
      }
    }
    const row = (measure: string, name: string): Row => {
      const ratios = (side: readonly WorkResult[]): number[] =>
        side.flatMap((one) => {
          const [now, quiet] = [p99(one, name), p99(one, "quiet")];
          return now === undefined || quiet === undefined ? [] : [now / quiet];
        });
      const cell = (side: readonly WorkResult[]): string => {
        if (ratios(side).length === 0) return "";
        const at = (window: string): string =>
          milliseconds(median(side.flatMap((one) => p99(one, window) ?? [])));
        return `${at(name)} ms (${at("quiet")}), ${median(ratios(side)).toFixed(1)}× quiet`;
      };
      return {
        measure,
        covey: cell(results.covey),
        etcd: cell(results.etcd),
        ratio: "",
        reach: "≤ 2× quiet",
      };
    };
    return [
      row(snapshotMeasure, "snapshot"),
      row(catchUpMeasure, "catch up"),
      {
        measure: stallMeasure,
        covey: stalls.join("; "),
        etcd: "",
        ratio: "",
        reach: "≤ 20 ms",
      },
    ];
  },
};
