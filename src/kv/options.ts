/** What a node decides for its own part of the store; what all of them share is in the machine. */
import { type CompactionPolicy, defaultCompactionPolicy } from "./core/compaction_policy.ts";
import { Code, CoveyError } from "../base/error.ts";
import { type KvLimits, limitNames, limitsLeast } from "./core/limits.ts";

export interface KvModuleOptions {
  /**
   * The replicated limits that this node sees to when it leads: where they differ, it proposes its
   * own. Those that are not named stay as they are.
   */
  readonly limits?: Partial<KvLimits>;
  /** Watched over by the leader. */
  readonly compaction?: CompactionPolicy;
  /** Largest message that a connection carries. Default 4 MiB. */
  readonly messageBytesMax?: number;
  /** Watches of this node; one more is refused. Default 100,000. */
  readonly watchesMax?: number;
  /** Watches of one stream. Default 16,384. */
  readonly watchesPerStreamMax?: number;
  /** Events that wait on one stream; a reader that is further behind is read for. Default 1 MiB. */
  readonly watchQueueBytesMax?: number;
  /** Watches that are told in one turn: about a millisecond. Only tests have a reason to change it. */
  readonly watchesPerTurn?: number;
  /** How often a watch that asked for it is told that there is nothing to tell. Default 10 min. */
  readonly progressIntervalMs?: number;
  /**
   * How long there may be no leader before streams that ask for one are ended, so that their
   * clients find a node that has one. Default 3 s.
   */
  readonly leaderlessMs?: number;
  /** Snapshots that may be sent at the same time. Default 2. */
  readonly snapshotsMax?: number;
  /** How long one may take: old state is kept for it meanwhile. Default 10 min. */
  readonly snapshotMs?: number;
  /** How much old state may be kept for one that is read slowly; at least 16 MiB. Default 64 MiB. */
  readonly snapshotPinnedBytesMax?: number;
}

export type KvSettings = Readonly<Required<Omit<KvModuleOptions, "limits">>> & {
  readonly limits: Partial<KvLimits>;
};

/** What an answer's envelope may take beside its message. */
const envelopeBytes = 256;

const defaults: KvSettings = {
  limits: {},
  compaction: defaultCompactionPolicy,
  messageBytesMax: 4 * 1024 * 1024,
  watchesMax: 100_000,
  watchesPerStreamMax: 16_384,
  watchQueueBytesMax: 1024 * 1024,
  watchesPerTurn: 4_096,
  progressIntervalMs: 600_000,
  leaderlessMs: 3_000,
  snapshotsMax: 2,
  snapshotMs: 600_000,
  snapshotPinnedBytesMax: 64 * 1024 * 1024,
};

/** With the defaults; throws `invalid_argument` for a limit that would lock everybody out. */
export function settingsOf(options: KvModuleOptions): KvSettings {
  const limits = options.limits ?? {};
  for (const name of limitNames) {
    const value = limits[name];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < limitsLeast[name]) {
      throw new CoveyError(
        Code.invalidArgument,
        `the limit ${name} is ${value}: it must be a whole number from ${limitsLeast[name]}`,
      );
    }
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** What a message may hold. */
export function payloadBytesMax(settings: KvSettings): number {
  return Math.max(settings.messageBytesMax - envelopeBytes, envelopeBytes);
}
