/** The failures, each on a fresh cluster. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fault } from "./failures_measure.ts";
import type { LoadProcess } from "./kv_commands.ts";
import type { BenchCluster, BenchNode, StartOptions } from "./kv_peers.ts";
import type { SlowSync, SyncControl } from "./slow_sync.ts";

export interface Scenario {
  readonly name: string;
  /** How the cluster is started, and what has to be undone afterwards; text: why it is skipped. */
  prepare(tools: Tools): Prepared | string;
}

export interface Tools {
  /** Text: why there is none. */
  readonly slowSync: SlowSync | string;
  note(text: string): void;
}

export interface Prepared {
  readonly options: StartOptions;
  /** Makes the fault for this cluster; the load has not begun yet. */
  fault(cluster: BenchCluster, load: LoadProcess): Promise<Fault>;
  close?(): void;
}

const holdMs = 8000;
const killedMs = 5000;

async function leaderAndOthers(
  cluster: BenchCluster,
): Promise<{ leader: BenchNode; others: BenchNode[] }> {
  const leader = await cluster.leader();
  return { leader, others: cluster.nodes.filter((node) => node !== leader) };
}

/** One that needs nothing but the cluster. */
function plain(
  name: string,
  fault: (cluster: BenchCluster, load: LoadProcess) => Promise<Fault>,
  options: StartOptions = {},
): Scenario {
  return { name, prepare: () => ({ options, fault }) };
}

function killed(name: string, whom: "leader" | "follower"): Scenario {
  return plain(name, async (cluster) => {
    const { leader, others } = await leaderAndOthers(cluster);
    const node = whom === "leader" ? leader : others[0];
    return {
      // The signal is sent at once; nobody waits for the corpse.
      begin: () => void node.kill(),
      holdMs: killedMs,
      end: () => node.spawn(),
    };
  });
}

function paused(name: string, whom: "leader" | "follower"): Scenario {
  return plain(name, async (cluster) => {
    const { leader, others } = await leaderAndOthers(cluster);
    const node = whom === "leader" ? leader : others[0];
    return { begin: () => node.pause(), holdMs: killedMs, end: () => node.resume() };
  });
}

function network(
  name: string,
  begin: (cluster: BenchCluster, leader: BenchNode, others: readonly BenchNode[]) => void,
): Scenario {
  return plain(name, async (cluster) => {
    const { leader, others } = await leaderAndOthers(cluster);
    return {
      begin: () => begin(cluster, leader, others),
      holdMs,
      end: () => cluster.network.heal(),
    };
  }, { relaySeed: 1 });
}

const slowDisk: Scenario = {
  name: "+50 ms on each sync, all nodes, 8 s",
  prepare({ slowSync }) {
    if (typeof slowSync === "string") return slowSync;
    const controls: SyncControl[] = [0, 1, 2].map(() => slowSync.control());
    const set = (delayMs: number): void => {
      for (const control of controls) control.set({ delayMs });
    };
    return {
      options: { wrap: (command, index) => controls[index].wrap(command) },
      fault: () => Promise.resolve({ begin: () => set(50), holdMs, end: () => set(0) }),
      close: () => controls.forEach((control) => control.close()),
    };
  },
};

// ---------------------------------------------------------------------------------------------

const smallDiskBytes = 512 << 20;

/** Small file systems in memory, one a node; text when they cannot be mounted. */
function smallDisks(): { folders: string[]; close(): void } | string {
  const folder = mkdtempSync(join(tmpdir(), "covey-small-disks-"));
  const folders: string[] = [];
  const close = (): void => {
    for (const one of folders) {
      spawnSync("umount", [one]);
      rmdirSync(one);
    }
    rmSync(folder, { recursive: true, force: true });
  };
  for (let index = 0; index < 3; index++) {
    const one = join(folder, `disk-${index}`);
    mkdirSync(one);
    const args = ["-t", "tmpfs", "-o", `size=${smallDiskBytes}`, "tmpfs", one];
    const mounted = spawnSync("mount", args, { encoding: "utf8" });
    if (mounted.status !== 0) {
      rmdirSync(one);
      close();
      return `a small file system cannot be mounted: ${mounted.stderr?.trim()}`;
    }
    folders.push(one);
  }
  return { folders, close };
}

/** Takes all that is free in a file system. */
function fillUp(folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  const piece = new Uint8Array(1 << 20);
  const file = join(folder, "filler");
  try {
    for (let left = bavail * bsize; left > 0; left -= piece.length) {
      writeFileSync(file, piece.subarray(0, Math.min(left, piece.length)), { flag: "a" });
    }
  } catch (error) {
    // The node takes its part at the same time: full is what was wanted.
    if ((error as { code?: string }).code !== "ENOSPC") throw error;
  }
}

const fullDisk: Scenario = {
  name: "the leader's disk is full, 8 s (data in memory file systems)",
  prepare() {
    const disks = smallDisks();
    if (typeof disks === "string") return disks;
    return {
      options: { dataFolder: (index) => join(disks.folders[index], "data") },
      fault: async (cluster) => {
        const folder = disks.folders[(await cluster.leader()).index];
        return {
          begin: () => fillUp(folder),
          holdMs,
          end: () => rmSync(join(folder, "filler")),
        };
      },
      close: () => disks.close(),
    };
  },
};

// ---------------------------------------------------------------------------------------------

const rollingRestart = plain("rolling restart, SIGTERM", (cluster) =>
  Promise.resolve({
    async begin() {
      for (const node of cluster.nodes) {
        await node.stop();
        await node.spawn();
        await cluster.serves(node);
        await cluster.caughtUp(node);
      }
    },
    holdMs: 0,
    end() {},
  }));

const catchUpKeys = 1600;
const catchUpValueBytes = 64 << 10;

/** The follower is down while 100 MB are written; the fault is its return. */
const catchUp: Scenario = {
  name: "a follower that lacks 100 MB returns",
  prepare: ({ note }) => ({
    options: {},
    fault: async (cluster, load) => {
      const { leader, others } = await leaderAndOthers(cluster);
      await others[0].kill();
      await load.connect([leader.address], 16);
      await load.total({
        total: catchUpKeys,
        keys: catchUpKeys,
        inOrder: true,
        clients: 16,
        valueBytes: catchUpValueBytes,
        retry: true,
      });
      return {
        begin: async () => {
          const begunMs = performance.now();
          await others[0].spawn();
          await cluster.serves(others[0]);
          await cluster.caughtUp(others[0]);
          note(`caught up after ${Math.round(performance.now() - begunMs)} ms`);
        },
        holdMs: 0,
        end() {},
      };
    },
  }),
};

const configurationChange = plain(
  "configuration change: an empty node is added, then the leader removed",
  (cluster) =>
    Promise.resolve({
      async begin() {
        const added = await cluster.grow();
        await cluster.caughtUp(added);
        await cluster.remove(await cluster.leader());
      },
      holdMs: 2000,
      end() {},
    }),
);

/** In the order of the table. */
export const scenarios: readonly Scenario[] = [
  killed("kill -9 of the leader, back after 5 s", "leader"),
  killed("kill -9 of a follower, back after 5 s", "follower"),
  paused("pause of the leader, 5 s", "leader"),
  paused("pause of a follower, 5 s", "follower"),
  slowDisk,
  network("1 % loss, 8 s", (cluster) => cluster.network.linkAll({ loss: 0.01 })),
  network("5 % loss, 8 s", (cluster) => cluster.network.linkAll({ loss: 0.05 })),
  network("100 ms round trip, 8 s", (cluster) => cluster.network.linkAll({ delayMs: 50 })),
  network("one-way cut: nothing from the leader arrives, 8 s", (cluster, leader, others) => {
    for (const { index } of others) cluster.network.link(leader.index, index, { cut: true });
  }),
  network("minority split: the leader alone, 8 s", (cluster, leader) => {
    cluster.network.isolate([leader.index]);
  }),
  network("minority split: a follower alone, 8 s", (cluster, _, others) => {
    cluster.network.isolate([others[0].index]);
  }),
  fullDisk,
  rollingRestart,
  catchUp,
  configurationChange,
];

/** Lets a cluster that was just founded come to rest. */
export async function rest(): Promise<void> {
  await sleep(1000);
}
