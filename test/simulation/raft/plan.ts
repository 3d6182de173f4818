/** What the seed decides before anything runs: who takes part, limits, faults, and the workload. */
import type { Prng } from "../../../src/base/prng.ts";
import type { KvConfig, RaftConfig } from "../../../src/config/types.ts";
import type { FaultOptions } from "../../../src/runtime/sim/faults.ts";

/** Phases of a run, in virtual milliseconds. */
export const chaosFromMs = 2_500;
export const chaosUntilMs = 62_500;
/** Where little could be done, it goes on until enough was, but not beyond this. */
export const chaosMostMs = 180_000;

export interface RunPlan {
  /** Machines that found the cluster, and machines that may be added to it. */
  readonly founders: readonly string[];
  readonly spares: readonly string[];
  readonly raft: Partial<RaftConfig>;
  readonly kv: Partial<KvConfig>;
  readonly diskBytes: number;
  readonly faults: FaultOptions;
  readonly disk: DiskPlan;
  /** Mean time between two faults that look for the leader; undefined for never. */
  readonly leaderFaultEveryMs: number | undefined;
  /** Mean time between two commands of the operator; undefined for an operator on holiday. */
  readonly operatorEveryMs: number | undefined;
  readonly work: WorkPlan;
}

/** Mean time between two faults of a kind; undefined for never. */
export interface DiskPlan {
  /** Syncs take this long for a while. */
  readonly stallEveryMs: number | undefined;
  readonly stallMs: readonly [number, number];
  readonly failSyncEveryMs: number | undefined;
  readonly fullEveryMs: number | undefined;
  /** A machine comes back without its disk, or with a damaged one. */
  readonly lossEveryMs: number | undefined;
  /** Of a write to the log that a power loss meets in its middle. */
  readonly crashInWriteChance: number;
}

export interface WorkPlan {
  /** Logical clients, each with one operation at a time. */
  readonly clients: number;
  readonly gapMs: number;
  readonly keys: number;
  readonly valueBytes: readonly [number, number];
  readonly timeoutMs: readonly [number, number];
  /** Clients that number their writes and repeat them. */
  readonly sessionChance: number;
  /** Clients that use covey's own library. */
  readonly libraryChance: number;
  readonly watchers: number;
  readonly leaseHolders: number;
}

const kibibyte = 1024;

export function drawPlan(random: Prng): RunPlan {
  const founders = ["ash", "birch", "cedar", "date", "elm"]
    .slice(0, random.pick([1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5]));
  const spares = ["fir", "gorse"].slice(0, random.pick([0, 1, 1, 2]));
  const latencyMs = random.pick([[0.2, 1], [0.5, 5], [2, 20]] as const);
  const heartbeatMs = random.pick([50, 100, 100, 200]);
  const leaseReads = random.chance(0.25);
  return {
    founders,
    spares,
    raft: {
      heartbeat_interval: heartbeatMs,
      election_timeout: heartbeatMs * random.pick([4, 5, 8]),
      disk_stall_timeout: random.pick([600, 1500, 3000]),
      segment_bytes: random.pick([8, 16, 64]) * kibibyte,
      low_water_bytes: 128 * kibibyte,
      snapshot_log_bytes: random.pick([3, 8, 20, 60]) * kibibyte,
      catch_up_bytes: random.pick([1, 4, 30]) * kibibyte,
      append_bytes_max: random.pick([1, 4, 64]) * kibibyte,
      inflight_bytes_max: random.pick([4, 64, 1024]) * kibibyte,
      inflight_messages_max: random.pick([1, 2, 8, 256]),
      uncommitted_bytes_max: random.pick([4, 1024]) * kibibyte,
      proposals_max: random.pick([8, 65_536]),
      request_timeout: random.pick([2000, 7000]),
      lease_reads: leaseReads,
    },
    kv: {
      compaction_revisions: random.pick([0, 60, 300]),
      progress_interval: random.pick([500, 3000, 600_000]),
      watch_queue_bytes_max: random.pick([16, 16, 1024]) * kibibyte,
    },
    diskBytes: 4 * kibibyte * kibibyte,
    faults: drawFaults(random, { latencyMs, leaseReads }),
    disk: drawDisk(random),
    leaderFaultEveryMs: random.chance(0.85) ? random.between(3000, 9000) : undefined,
    operatorEveryMs: random.chance(0.7) ? random.between(2500, 8000) : undefined,
    work: {
      clients: random.between(10, 14),
      gapMs: random.pick([500, 800]),
      keys: random.pick([6, 8, 12]),
      valueBytes: random.pick([[0, 40], [0, 300], [100, 900]] as const),
      timeoutMs: random.pick([[300, 1500], [1000, 4000]] as const),
      sessionChance: random.pick([0.3, 0.6, 1]),
      libraryChance: random.pick([0, 0.3]),
      watchers: random.between(1, 4),
      leaseHolders: random.below(3),
    },
  };
}

function drawFaults(
  random: Prng,
  { latencyMs, leaseReads }: { latencyMs: readonly [number, number]; leaseReads: boolean },
): FaultOptions {
  const sometimes = (least: number, most: number): number | undefined =>
    random.chance(0.7) ? random.between(least, most) : undefined;
  return {
    latencyMs,
    jitterMs: random.pick([[0, 0.2], [0, 3]]),
    windowBytes: random.pick([16, 64, 256]) * kibibyte,
    splitChance: random.pick([0, 0, 0.01]),
    partialWriteChance: random.pick([0, 0, 0.01]),
    connectionResetChance: random.pick([0, 0.0002, 0.001]),
    stallResetMs: random.pick([5000, 15_000]),
    clockSkewMs: 500,
    // Lease reads ask for clocks that run alike.
    clockDriftPpm: leaseReads ? 200 : random.pick([200, 20_000]),
    diskMs: [0.02, 0.1],
    syncMs: random.pick([[0.2, 0.5], [0.2, 0.5], [1, 8]]),
    slowSyncChance: random.pick([0, 0.01, 0.05]),
    slowSyncMs: [5, 300],
    tornWriteChance: random.pick([0, 0.5, 0.9]),
    nemesis: {
      partitionEveryMs: sometimes(8000, 16_000),
      oneWayCutEveryMs: sometimes(8000, 16_000),
      connectionResetEveryMs: sometimes(5000, 12_000),
      slowLinkEveryMs: sometimes(8000, 16_000),
      slowLinkBytesPerSecond: [2 * kibibyte, 64 * kibibyte],
      stuckPeerEveryMs: sometimes(10_000, 20_000),
      pauseEveryMs: sometimes(8000, 16_000),
      killEveryMs: random.between(7000, 16_000),
      crashEveryMs: sometimes(8000, 18_000),
      powerLossEveryMs: sometimes(8000, 18_000),
      clockJumpEveryMs: sometimes(8000, 16_000),
      lastsMs: random.pick([[50, 3000], [500, 8000]]),
      machinesMax: random.pick([1, 1, 2]),
      fromMs: chaosFromMs,
    },
  };
}

function drawDisk(random: Prng): DiskPlan {
  const sometimes = (chance: number, least: number, most: number): number | undefined =>
    random.chance(chance) ? random.between(least, most) : undefined;
  return {
    stallEveryMs: sometimes(0.4, 8000, 25_000),
    stallMs: random.pick([[300, 1500], [2000, 6000]]),
    failSyncEveryMs: sometimes(0.3, 15_000, 40_000),
    fullEveryMs: sometimes(0.25, 15_000, 30_000),
    lossEveryMs: sometimes(0.25, 20_000, 40_000),
    crashInWriteChance: random.pick([0, 0.001, 0.005]),
  };
}
