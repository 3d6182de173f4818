/**
 * The table of the key-value store in the README: three compiled covey processes beside three etcd
 * processes, in the same run on the same machine, in turns, with real syncs and their defaults, the
 * client included.
 *
 *   bun bench/kv.ts [--rounds N] [--seconds S] [--only ROW,ROW] [--peers PEER] [--all] [--write]
 *
 * Rows: puts, gets, failover, memory, interference, elections, idle, simulator. `--all` runs the
 * long ones in full length (a million overwrites, ten minutes of a bad network); without it they
 * are shorter, say so, and do not go into the README. `--write` puts the measured rows into
 * README.md between its markers and leaves the others there as they are.
 *
 * Both peers have the same loading process: one thread, 16 clients on a connection, every call with
 * a deadline, against the leader. etcd is reached through grpc-js with its own messages, covey
 * through its ttrpc client.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { arch, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { selectRuntime } from "../src/start.ts";
import { coveyBinary } from "../test/support/cluster.ts";
import { DocumentTable } from "./document_table.ts";
import type { Bench, Group } from "./kv_bench.ts";
import { clientsPerConnection } from "./kv_commands.ts";
import { CoveyPeer, EtcdPeer } from "./kv_peers.ts";
import { elections, failover, idle } from "./kv_rows_faults.ts";
import { gets, puts } from "./kv_rows_load.ts";
import { interference, memory } from "./kv_rows_loaded.ts";
import { simulator } from "./kv_rows_simulator.ts";
import { cellsOf, columns } from "./kv_table.ts";
import { SlowSync } from "./slow_sync.ts";

const root = fileURLToPath(new URL("..", import.meta.url).href);

/** In the order of the table. */
const groups: readonly Group[] = [
  puts,
  gets,
  failover,
  memory,
  interference,
  elections,
  idle,
  simulator,
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "5" },
      only: { type: "string", default: "" },
      all: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      peers: { type: "string", default: "covey,etcd" },
      /** Runs nodes by another command, for instance from the sources: words between spaces. */
      covey: { type: "string", default: coveyBinary },
    },
  });
  const wanted = values.only === "" ? groups.map((group) => group.name) : values.only.split(",");
  const unknown = wanted.find((name) => !groups.some((group) => group.name === name));
  if (unknown !== undefined) {
    throw new Error(`no row ${unknown}; there are ${groups.map((group) => group.name).join(", ")}`);
  }
  const command = values.covey.split(" ");
  if (!existsSync(command[0])) throw new Error(`${command[0]} is not there: run ./compile.sh`);
  const runtime = await selectRuntime();
  const folder = mkdtempSync(join(tmpdir(), "covey-bench-"));
  const etcd = EtcdPeer.find(runtime, folder);
  const slowSync = SlowSync.build();
  if (typeof etcd === "string") console.error(`without etcd: ${etcd}`);
  if (typeof slowSync === "string") console.error(`without slow syncs: ${slowSync}`);
  const peers = [new CoveyPeer(runtime, command), ...(typeof etcd === "string" ? [] : [etcd])];
  const bench: Bench = {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    all: values.all,
    peers: peers.filter((peer) => values.peers.split(",").includes(peer.name)),
    slowSync: typeof slowSync === "string" ? undefined : slowSync,
    note: (text) => console.error(`  ${text}`),
  };
  const table = new DocumentTable(columns);
  try {
    for (const group of groups) {
      if (!wanted.includes(group.name)) continue;
      console.error(`${group.name} …`);
      for (const row of await group.run(bench)) console.error(table.add(cellsOf(row)));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    bench.slowSync?.close();
  }
  const note = `${cpus().length} cores (${arch()}), Bun ${process.versions.bun}` +
    (typeof etcd === "string" ? "" : `, etcd ${etcd.version}`) +
    `, ${bench.rounds} rounds of ${bench.seconds} s, medians; one loading process, ` +
    `${clientsPerConnection} clients a connection, against the leader.`;
  console.log(`${table.text()}\n\n${note}`);
  if (!values.write) return;
  if (bench.peers.length < peers.length) throw new Error("--write wants both peers");
  const measures = groups.flatMap((group) => group.measures);
  table.write(join(root, "README.md"), "kv", measures, note);
}

main().then(() => process.exit(0), (error) => {
  console.error("kv:", error instanceof Error ? error.message : error);
  process.exit(1);
});
