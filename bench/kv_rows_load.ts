/** Rows of steady load: puts, gets, memory after them, bytes written for them. */
import { readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, type Both, both, type Group, settleMs, withCluster } from "./kv_bench.ts";
import type { BenchCluster } from "./kv_peers.ts";
import { median, medianRatio, megabytes, milliseconds, perSecond, type Row } from "./kv_table.ts";
import type { WorkWindow } from "./kv_work.ts";

const clientCounts = [1, 64, 256] as const;
/** An engine that compiles while it runs is as fast as it gets after some seconds; both clients are. */
const warmUpSeconds = 10;
/** Between loads on nodes that are warm already. */
const nextWarmUpSeconds = 4;
const reaches: Readonly<Record<number, string>> = {
  1: "≥ 1.2×, p99 no worse",
  64: "≥ 3×, p99 no worse",
  256: "≥ 3×, p99 no worse",
};

const putsOf = (clients: number): string =>
  `256 B puts, ${clients} ${clients === 1 ? "client" : "clients"} (p50 / p99)`;
const bytesOf = (clients: number): string =>
  `bytes written to disk per 256 B put and node, ${clients} ` +
  `${clients === 1 ? "client" : "clients"}`;
const rssMeasure = "RSS per node after the puts, the largest";
const getsMeasure = "linearizable gets, 64 clients (p50 / p99)";

interface PutRound {
  readonly window: WorkWindow;
  readonly bytesPerPut: number;
}

function windowOf(windows: readonly WorkWindow[], name: string): WorkWindow {
  const found = windows.find((window) => window.name === name);
  if (found === undefined) throw new Error(`no window ${name}`);
  return found;
}

/**
 * What the block device below the data wrote, the file system's journal with it: a process's own
 * counter in /proc counts a whole folio of the page cache, up to megabytes, for each block in it
 * that becomes dirty. That one is taken where there is no such device.
 */
function writtenBytes(cluster: BenchCluster): number {
  return deviceWrittenBytes(tmpdir()) ??
    cluster.nodes.reduce((sum, node) => sum + node.usage().writtenBytes, 0);
}

function deviceWrittenBytes(folder: string): number | undefined {
  const { dev } = statSync(folder);
  try {
    const stat = readFileSync(`/sys/dev/block/${dev >> 8}:${dev & 255}/stat`, "utf8");
    return Number(stat.trim().split(/\s+/)[6]) * 512;
  } catch {
    // A file system in memory, or one of another system.
    return undefined;
  }
}

function largestRssKB(cluster: BenchCluster): number {
  return Math.max(...cluster.nodes.map((node) => node.usage().rssKB));
}

function cell(windows: readonly WorkWindow[]): string {
  if (windows.length === 0) return "";
  const p50 = median(windows.map((window) => window.latencyMicros.p50)) / 1000;
  const p99 = median(windows.map((window) => window.latencyMicros.p99)) / 1000;
  return `${perSecond(median(windows.map((window) => window.perSecond)))} ` +
    `(${milliseconds(p50)} / ${milliseconds(p99)} ms)`;
}

function loadRow(measure: string, windows: Both<WorkWindow>, reach: string): Row {
  const rates = (side: readonly WorkWindow[]): number[] => side.map((window) => window.perSecond);
  const p99s = (side: readonly WorkWindow[]): number[] =>
    side.map((window) => window.latencyMicros.p99);
  const ratio = medianRatio(rates(windows.covey), rates(windows.etcd));
  const p99 = medianRatio(p99s(windows.covey), p99s(windows.etcd));
  return {
    measure,
    covey: cell(windows.covey),
    etcd: cell(windows.etcd),
    ratio: ratio === "" ? "" : `${ratio}, p99 ${p99}`,
    reach,
  };
}

function checkErrors(bench: Bench, name: string, errors: number, error: string): void {
  if (errors > 0) bench.note(`${name}: ${errors} attempts failed, the last one with: ${error}`);
}

/** Puts at each number of clients on one cluster, anew in each round. */
export const puts: Group = {
  name: "puts",
  measures: [...clientCounts.map(putsOf), rssMeasure, ...[1, 64].map(bytesOf)],
  async run(bench) {
    const rounds: Record<number, Both<PutRound>> = { 1: both(), 64: both(), 256: both() };
    const rss = both<number>();
    for (let round = 0; round < bench.rounds; round++) {
      for (const peer of bench.peers) {
        await withCluster(peer, {}, async (cluster, load) => {
          const { address } = await cluster.leader();
          for (const clients of clientCounts) {
            await load.connect([address], clients);
            const before = writtenBytes(cluster);
            const warmUp = clients === clientCounts[0] ? warmUpSeconds : nextWarmUpSeconds;
            const result = await load.run({ clients }, warmUp, bench.seconds);
            const bytes = writtenBytes(cluster) - before;
            checkErrors(bench, peer.name, result.errors, result.error);
            rounds[clients][peer.name].push({
              window: windowOf(result.windows, "measured"),
              bytesPerPut: bytes / cluster.nodes.length / result.operations,
            });
          }
          await sleep(settleMs);
          rss[peer.name].push(largestRssKB(cluster));
        });
      }
    }
    const windows = (clients: number): Both<WorkWindow> => ({
      covey: rounds[clients].covey.map((one) => one.window),
      etcd: rounds[clients].etcd.map((one) => one.window),
    });
    const rows = clientCounts.map((clients) =>
      loadRow(putsOf(clients), windows(clients), reaches[clients])
    );
    rows.push({
      measure: rssMeasure,
      covey: megabytes(median(rss.covey)),
      etcd: rss.etcd.length === 0 ? "" : megabytes(median(rss.etcd)),
      ratio: medianRatio(rss.covey, rss.etcd),
      reach: "≤ etcd's",
    });
    for (const clients of [1, 64]) {
      const covey = rounds[clients].covey.map((one) => one.bytesPerPut);
      const etcd = rounds[clients].etcd.map((one) => one.bytesPerPut);
      rows.push({
        measure: bytesOf(clients),
        covey: `${Math.round(median(covey))}`,
        etcd: etcd.length === 0 ? "" : `${Math.round(median(etcd))}`,
        ratio: medianRatio(covey, etcd),
        reach: "≤ etcd's",
      });
    }
    return rows;
  },
};

export const gets: Group = {
  name: "gets",
  measures: [getsMeasure],
  async run(bench) {
    const windows = both<WorkWindow>();
    const keys = 10_000;
    for (let round = 0; round < bench.rounds; round++) {
      for (const peer of bench.peers) {
        await withCluster(peer, {}, async (cluster, load) => {
          const { address } = await cluster.leader();
          await load.connect([address], 64);
          await load.total({ total: keys, keys, inOrder: true, clients: 64 });
          const result = await load.run(
            { operation: "get", clients: 64, keys },
            warmUpSeconds,
            bench.seconds,
          );
          checkErrors(bench, peer.name, result.errors, result.error);
          windows[peer.name].push(windowOf(result.windows, "measured"));
        });
      }
    }
    return [loadRow(getsMeasure, windows, "≥ 2×")];
  },
};
