/**
 * Every fault has a name, an option that makes it happen by itself with the seed's randomness, and
 * a counter. What is left out of the options does not happen by itself: a calm world is the
 * default, {@link roughFaults} turns everything on.
 */

export const faultKinds = [
  "bitFlip",
  "clockDrift",
  "clockJump",
  "connectionReset",
  "crash",
  "dialRetry",
  "diskFull",
  "kill",
  "lostName",
  "lostWrite",
  "oneWayCut",
  "openFailure",
  "partialWrite",
  "partition",
  "pause",
  "powerLoss",
  "readFailure",
  "restart",
  "slowLink",
  "slowSync",
  "split",
  "stall",
  "stallReset",
  "stuckPeer",
  "syncFailure",
  "tornWrite",
  "udpDuplicate",
  "udpLoss",
  "udpReorder",
  "writeFailure",
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** A smallest and a largest value; each draw lies between, both included. */
export type Range = readonly [least: number, most: number];

/** Chances run from 0 (never) to 1 (always). */
export interface FaultOptions {
  /** One-way latency of a link between two machines, drawn once per link. Default 0.3 to 0.7. */
  readonly latencyMs?: Range;
  /** Added to each packet's latency; default 0 to 0.1. */
  readonly jitterMs?: Range;
  /** Bytes of a connection that one direction holds: under way and not read yet. */
  readonly windowBytes?: number;
  /** A delivered chunk is cut at a random place, again and again, down to single bytes. */
  readonly splitChance?: number;
  /** A write takes less than it has room for. */
  readonly partialWriteChance?: number;
  /** Arriving data kills its connection instead. */
  readonly connectionResetChance?: number;
  readonly udpLossChance?: number;
  readonly udpDuplicateChance?: number;
  /** A datagram takes up to ten times as long, so that later ones overtake it. */
  readonly udpReorderChance?: number;
  /** A connection whose packets got no answer for this long is reset. Default 60 s. */
  readonly stallResetMs?: number;
  /** After a cut heals, the stalled packets are sent again within this time. */
  readonly retransmitMs?: Range;
  /** Wall clocks of machines are off by up to this much in both directions. */
  readonly clockSkewMs?: number;
  /** Clocks of machines run too fast or too slow by up to this many parts in a million. */
  readonly clockDriftPpm?: number;
  /** Duration of reads, writes, renames and the like. Default 0.02 to 0.1. */
  readonly diskMs?: Range;
  /** Duration of `sync` and `syncDirectory`. Default 0.2 to 0.5. */
  readonly syncMs?: Range;
  readonly slowSyncChance?: number;
  readonly slowSyncMs?: Range;
  /** `sync` fails with `io`; what it should have made durable never becomes so by itself. */
  readonly syncFailureChance?: number;
  /**
   * At a crash, unsynced sectors and names survive in part: a prefix or any subset. Without it
   * everything unsynced is lost.
   */
  readonly tornWriteChance?: number;
  /** Faults of whole machines and links that come and go by themselves. */
  readonly nemesis?: NemesisOptions;
}

/** Mean time between two of a kind, and how long each lasts. What is left out does not come. */
export interface NemesisOptions {
  readonly partitionEveryMs?: number;
  readonly oneWayCutEveryMs?: number;
  readonly connectionResetEveryMs?: number;
  readonly slowLinkEveryMs?: number;
  /** Speed of a slow link; default 1 to 64 KiB/s. */
  readonly slowLinkBytesPerSecond?: Range;
  readonly stuckPeerEveryMs?: number;
  readonly pauseEveryMs?: number;
  readonly killEveryMs?: number;
  readonly crashEveryMs?: number;
  readonly powerLossEveryMs?: number;
  readonly clockJumpEveryMs?: number;
  /** Size of a jump of the wall clock, in both directions; default up to an hour. */
  readonly clockJumpMs?: number;
  /** How long a fault lasts that has an end. Default 0.2 to 10 s. */
  readonly lastsMs?: Range;
  /** Machines that may be down, paused or stuck at the same time; default 1. */
  readonly machinesMax?: number;
  /** No fault begins before this; default 0. */
  readonly fromMs?: number;
  /** All faults end by this, so that a run can come to rest; default never. */
  readonly untilMs?: number;
}

/** The options with nothing left open; they may change while the simulation runs. */
export type Faults = { -readonly [Name in keyof Settings]: Settings[Name] };

type Settings = Required<Omit<FaultOptions, "nemesis">>;

/** What makes faults happen by chance, all of them off. */
export const calmChances: FaultOptions = {
  splitChance: 0,
  partialWriteChance: 0,
  connectionResetChance: 0,
  udpLossChance: 0,
  udpDuplicateChance: 0,
  udpReorderChance: 0,
  slowSyncChance: 0,
  syncFailureChance: 0,
  tornWriteChance: 0,
};

export function completeFaults(options: FaultOptions): Faults {
  return {
    latencyMs: options.latencyMs ?? [0.3, 0.7],
    jitterMs: options.jitterMs ?? [0, 0.1],
    windowBytes: options.windowBytes ?? 256 * 1024,
    splitChance: options.splitChance ?? 0,
    partialWriteChance: options.partialWriteChance ?? 0,
    connectionResetChance: options.connectionResetChance ?? 0,
    udpLossChance: options.udpLossChance ?? 0,
    udpDuplicateChance: options.udpDuplicateChance ?? 0,
    udpReorderChance: options.udpReorderChance ?? 0,
    stallResetMs: options.stallResetMs ?? 60_000,
    retransmitMs: options.retransmitMs ?? [1, 400],
    clockSkewMs: options.clockSkewMs ?? 0,
    clockDriftPpm: options.clockDriftPpm ?? 0,
    diskMs: options.diskMs ?? [0.02, 0.1],
    syncMs: options.syncMs ?? [0.2, 0.5],
    slowSyncChance: options.slowSyncChance ?? 0,
    slowSyncMs: options.slowSyncMs ?? [20, 500],
    syncFailureChance: options.syncFailureChance ?? 0,
    tornWriteChance: options.tornWriteChance ?? 0,
  };
}

/** A rough but survivable world. Spread it into the options and overwrite what a test needs. */
export const roughFaults: FaultOptions = {
  latencyMs: [0.2, 20],
  jitterMs: [0, 5],
  windowBytes: 64 * 1024,
  splitChance: 0.1,
  partialWriteChance: 0.05,
  connectionResetChance: 0.0005,
  udpLossChance: 0.05,
  udpDuplicateChance: 0.02,
  udpReorderChance: 0.05,
  stallResetMs: 15_000,
  clockSkewMs: 500,
  clockDriftPpm: 100,
  slowSyncChance: 0.02,
  tornWriteChance: 0.7,
};
