/** What the seed decides before anything runs: limits, faults, and the mixture of operations. */
import type { Prng } from "../../../src/base/prng.ts";
import type { RpcOptions } from "../../../src/config/types.ts";
import type { FaultOptions } from "../../../src/runtime/sim/faults.ts";
import type { OperationKind, OperationPlan } from "./ledger.ts";

/** Phases of a run, in virtual milliseconds. */
export const chaosFromMs = 500;
export const chaosUntilMs = 50_000;
export const workUntilMs = 56_000;

export interface RunPlan {
  readonly names: readonly string[];
  /** By machine. */
  readonly rpc: ReadonlyMap<string, RpcOptions & { readonly drain_timeout: number }>;
  readonly faults: FaultOptions;
  /** Mean time between two operations of one machine. */
  readonly gapMs: number;
  /** The size that most messages stay below. */
  readonly bytesMax: number;
  /** And the few large ones: a small window over a long path is slow, and calls must end. */
  readonly largeBytesMax: number;
  readonly dialTimeoutMs: number;
  readonly backoffMostMs: number;
  /** Nodes are stopped and started again this often, on average. */
  readonly stopEveryMs: number;
  readonly withdrawEveryMs: number;
}

const kibibyte = 1024;

export function drawPlan(random: Prng): RunPlan {
  const names = ["ash", "birch", "cedar", "date", "elm"].slice(0, random.between(3, 5));
  const small = random.chance(0.6);
  const windowBytes = random.pick([4, 16, 64, 256, 1024]) * kibibyte;
  return {
    names,
    rpc: new Map(names.map((name) => [name, drawLimits(random, names.length, small)])),
    faults: drawFaults(random, windowBytes),
    gapMs: names.length * 112,
    bytesMax: small ? 600 : random.pick([600, 4000]),
    largeBytesMax: Math.min(20_000, windowBytes),
    dialTimeoutMs: random.pick([300, 1000, 3000]),
    backoffMostMs: random.pick([200, 1000, 2000]),
    stopEveryMs: random.pick([8000, 15_000, 40_000]),
    withdrawEveryMs: random.pick([10_000, 30_000]),
  };
}

function drawLimits(random: Prng, machines: number, small: boolean) {
  const pick = <T>(tight: readonly T[], wide: readonly T[]): T =>
    random.pick(small && random.chance(0.5) ? tight : wide);
  // Dead connections without keepalive must not hold the few places for ever.
  const connections = pick([2 * machines + 3], [1024]);
  return {
    message_bytes_max: pick([2 * kibibyte, 8 * kibibyte], [64 * kibibyte, 256 * kibibyte]),
    calls_per_connection_max: pick([2, 5], [64, 1024]),
    streams_per_connection_max: pick([1, 3], [64, 1024]),
    stream_queue_bytes_max: pick([1 * kibibyte, 4 * kibibyte], [64 * kibibyte, 1024 * kibibyte]),
    stream_queue_messages_max: pick([2, 8], [1024]),
    connection_queue_bytes_max: pick([64 * kibibyte], [512 * kibibyte, 16 * 1024 * kibibyte]),
    connection_queue_messages_max: pick([4, 32], [16_384]),
    connections_per_listener_max: 1024,
    connections_max: connections,
    idle_timeout: connections < 100 ? 1000 : pick([1000, 4000], [8000, 3_600_000]),
    keepalive_interval: random.pick([400, 1000, 3000]),
    keepalive_timeout: random.pick([300, 1000, 2000]),
    drain_timeout: random.pick([200, 1000, 4000]),
    io_stall_timeout: random.pick([1000, 3000, 6000]),
    stream_stall_timeout: random.pick([20, 100, 400]),
    handshake_timeout: 1000,
  };
}

function drawFaults(random: Prng, windowBytes: number): FaultOptions {
  const sometimes = (least: number, most: number): number | undefined =>
    random.chance(0.75) ? random.between(least, most) : undefined;
  return {
    latencyMs: random.pick([[0.2, 1], [0.5, 10], [5, 40]]),
    jitterMs: random.pick([[0, 0.2], [0, 5]]),
    windowBytes,
    splitChance: random.pick([0, 0.02, 0.15]),
    partialWriteChance: random.pick([0, 0.02, 0.15]),
    connectionResetChance: random.pick([0, 0.0005, 0.003]),
    stallResetMs: random.pick([5000, 15_000]),
    clockSkewMs: 500,
    clockDriftPpm: 200,
    slowSyncChance: 0.05,
    slowSyncMs: [5, 100],
    tornWriteChance: 0.5,
    nemesis: {
      partitionEveryMs: random.between(8000, 16_000),
      oneWayCutEveryMs: random.between(8000, 16_000),
      connectionResetEveryMs: random.between(5000, 10_000),
      slowLinkEveryMs: sometimes(6000, 14_000),
      slowLinkBytesPerSecond: [1 * kibibyte, windowBytes * 2],
      stuckPeerEveryMs: sometimes(8000, 16_000),
      pauseEveryMs: sometimes(8000, 16_000),
      killEveryMs: sometimes(10_000, 20_000),
      crashEveryMs: sometimes(10_000, 20_000),
      powerLossEveryMs: sometimes(10_000, 20_000),
      clockJumpEveryMs: sometimes(8000, 16_000),
      lastsMs: [50, 5000],
      machinesMax: 2,
      fromMs: chaosFromMs,
    },
  };
}

const kinds: readonly OperationKind[] = [
  ...Array.from({ length: 8 }, () => "echo" as const),
  ...Array.from({ length: 3 }, () => "count" as const),
  ...Array.from({ length: 3 }, () => "sum" as const),
  ...Array.from({ length: 4 }, () => "chat" as const),
  "nothing",
  "nothing",
  "fail",
  "throw",
  "failStream",
  "failStream",
  "flood",
  "watch",
  "badMetadata",
  "badInput",
];

/** Draws one operation. Every draw is made whatever the kind, so that seeds stay comparable. */
export function drawOperation(random: Prng, plan: RunPlan): OperationPlan {
  const kind = random.pick(kinds);
  const large = random.chance(0.06);
  const bytes = large ? random.between(0, plan.largeBytesMax) : random.between(0, plan.bytesMax);
  const many = random.chance(0.1);
  return {
    kind,
    covey: random.chance(0.6),
    timeoutMs: random.chance(0.55) ? drawTimeout(random) : undefined,
    cancelAfterMs: random.chance(0.2) ? random.between(0, random.pick([2, 50, 800])) : undefined,
    bytes,
    count: many ? random.between(10, 60) : random.between(0, 6),
    gapMs: random.chance(0.3) ? random.between(1, 40) : 0,
    delayMs: random.chance(0.4) ? random.between(1, random.pick([20, 400])) : 0,
    reading: random.pick(["all", "all", "all", "slow", "early", "late", "never"]),
    handling: random.pick(["plain", "plain", "plain", "plain", "stubborn", "deaf", "hasty"]),
    code: random.between(5, 16),
  };
}

function drawTimeout(random: Prng): number {
  return random.pick([
    random.fraction() * 3,
    random.between(1, 60),
    random.between(50, 800),
    random.between(500, 5000),
  ]);
}
