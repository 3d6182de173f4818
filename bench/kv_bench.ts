/** What every group of rows of `kv.ts` works with. */
import type { BenchCluster, Peer, StartOptions } from "./kv_peers.ts";
import type { LoadProcess } from "./kv_commands.ts";
import type { Row } from "./kv_table.ts";
import type { SlowSync } from "./slow_sync.ts";

export interface Bench {
  readonly rounds: number;
  readonly seconds: number;
  /** The long rows in full length. */
  readonly all: boolean;
  /** Those that take part, in the order of the rounds. */
  readonly peers: readonly Peer[];
  /** Undefined where syncs cannot be watched. */
  readonly slowSync: SlowSync | undefined;
  /** For people, while it runs. */
  note(text: string): void;
}

/** A group of rows that are measured together. */
export interface Group {
  readonly name: string;
  readonly measures: readonly string[];
  run(bench: Bench): Promise<Row[]>;
}

/** A cluster and a loading process for it, both ended afterwards. */
export async function withCluster<T>(
  peer: Peer,
  options: StartOptions,
  work: (cluster: BenchCluster, load: LoadProcess) => Promise<T>,
): Promise<T> {
  const cluster = await peer.start(options);
  const load = peer.load();
  try {
    return await work(cluster, load);
  } finally {
    await load.stop();
    await cluster.stop();
  }
}

/** Before memory is looked at: what a collector is about to give back is not what the data need. */
export const settleMs = 5000;

/** One list of values for each peer. */
export interface Both<T> {
  readonly covey: T[];
  readonly etcd: T[];
}

export function both<T>(): Both<T> {
  return { covey: [], etcd: [] };
}
