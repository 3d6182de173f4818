/** What a machine holds, for whoever shows it. */

export interface KvStatistics {
  readonly revision: number;
  readonly compactRevision: number;
  /** Keys that are there now. */
  readonly keys: number;
  /** What counts towards the quota, the quota, and how much a compaction could free. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly historyBytes: number;
  /** What keys and values take in memory, free room included. */
  readonly memoryBytes: number;
  /** The part of it that is kept for snapshots that are being read. */
  readonly pinnedBytes: number;
  readonly leases: number;
  readonly sessions: number;
  readonly sessionBytes: number;
}
