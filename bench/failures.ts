/**
 * What each failure costs: three compiled covey processes with real syncs, a steady load of 32
 * clients that write 256 B to keys of their own, and one fault in the middle. Prints the table of
 * docs/raft_failures.md.
 *
 *   bun bench/failures.ts [--rounds N] [--only WORDS,WORDS] [--peer etcd] [--write]
 *
 * `--only` runs the failures whose names contain one of the words; `--write` puts the rows that
 * were measured into the document between its markers and leaves the others as they are. `--peer etcd` does the same to
 * etcd.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { arch, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { selectRuntime } from "../src/start.ts";
import { coveyBinary } from "../test/support/cluster.ts";
import { attemptMs, clients, type Cost, measure } from "./failures_measure.ts";
import { rest, type Scenario, scenarios, type Tools } from "./failures_scenarios.ts";
import { type BenchCluster, CoveyPeer, EtcdPeer, type Peer } from "./kv_peers.ts";
import { median, milliseconds, perSecond } from "./kv_table.ts";
import { DocumentTable } from "./document_table.ts";
import { SlowSync } from "./slow_sync.ts";

const root = fileURLToPath(new URL("..", import.meta.url).href);
const columns = [
  "failure",
  "before",
  "lowest half second",
  "first write",
  "back to 90 %",
  "p99 during",
  "lost",
];

/** One round on a cluster of its own; text: why it is skipped. */
async function once(peer: Peer, scenario: Scenario, tools: Tools): Promise<Cost | string> {
  const prepared = scenario.prepare(tools);
  if (typeof prepared === "string") return prepared;
  let cluster: BenchCluster | undefined;
  const load = peer.load();
  try {
    cluster = await peer.start(prepared.options);
    await rest();
    return await measure(cluster, load, await prepared.fault(cluster, load));
  } finally {
    await load.stop();
    await cluster?.stop();
    prepared.close?.();
  }
}

function cells(name: string, costs: readonly Cost[]): string[] {
  const of = (pick: (cost: Cost) => number): number => median(costs.map(pick));
  const back = of((cost) => cost.backMs);
  const afterEnd = costs.flatMap((cost) => cost.backAfterEndMs ?? []);
  const time = (ms: number): string =>
    ms === Infinity ? "not within the run" : ms === 0 ? "at once" : `${milliseconds(ms)} ms`;
  const sum = (pick: (cost: Cost) => number): number =>
    costs.reduce((total, cost) => total + pick(cost), 0);
  return [
    name,
    perSecond(of((cost) => cost.beforePerSecond)),
    `${Math.round(of((cost) => cost.lowest) * 100)} %`,
    time(of((cost) => cost.firstMs)),
    afterEnd.length > costs.length / 2
      ? `${time(median(afterEnd))} after the end`
      : back === 0
      ? "never below"
      : time(back),
    `${milliseconds(of((cost) => cost.p99Ms))} ms`,
    `${sum((cost) => cost.lost)} of ${sum((cost) => cost.acknowledged)}`,
  ];
}

async function peerOf(name: string, command: readonly string[], folder: string): Promise<Peer> {
  const runtime = await selectRuntime();
  if (name === "etcd") {
    const etcd = EtcdPeer.find(runtime, folder);
    if (typeof etcd === "string") throw new Error(etcd);
    return etcd;
  }
  if (!existsSync(command[0])) throw new Error(`${command[0]} is not there: run ./compile.sh`);
  return new CoveyPeer(runtime, command);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "3" },
      only: { type: "string", default: "" },
      write: { type: "boolean", default: false },
      peer: { type: "string", default: "covey" },
      covey: { type: "string", default: coveyBinary },
    },
  });
  const words = values.only.split(",");
  const wanted = scenarios.filter(({ name }) => words.some((word) => name.includes(word)));
  const folder = mkdtempSync(join(tmpdir(), "covey-bench-"));
  const peer = await peerOf(values.peer, values.covey.split(" "), folder);
  const slowSync = SlowSync.build();
  const tools: Tools = { slowSync, note: (text) => console.error(`  ${text}`) };
  const table = new DocumentTable(columns);
  try {
    for (const scenario of wanted) {
      console.error(`${scenario.name} …`);
      const costs: Cost[] = [];
      let skipped = "";
      for (let round = 0; round < Number(values.rounds) && skipped === ""; round++) {
        const cost = await once(peer, scenario, tools);
        if (typeof cost === "string") skipped = cost;
        else costs.push(cost);
      }
      if (skipped !== "") console.error(`  skipped: ${skipped}`);
      else console.error(table.add(cells(scenario.name, costs)));
    }
  } finally {
    if (typeof slowSync !== "string") slowSync.close();
    rmSync(folder, { recursive: true, force: true });
  }
  const note = `${cpus().length} cores (${arch()}), Bun ${process.versions.bun}, medians of ` +
    `${values.rounds} rounds; ${clients} clients, 256 B values, each attempt up to ` +
    `${attemptMs / 1000} s and then the next node.`;
  console.log(`${table.text()}\n\n${note}`);
  if (!values.write) return;
  if (values.peer !== "covey") throw new Error("the document holds covey's figures alone");
  const names = scenarios.map(({ name }) => name);
  table.write(join(root, "docs", "raft_failures.md"), "failures", names, note);
}

main().then(() => process.exit(0), (error) => {
  console.error("failures:", error instanceof Error ? error.message : error);
  process.exit(1);
});
