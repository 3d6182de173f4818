/** What the store's services count. Plain numbers; whoever shows them reads them. */
export class KvCounters {
  puts = 0;
  deletes = 0;
  /** Transactions that write, and those that only read. */
  transactions = 0;
  readTransactions = 0;
  ranges = 0;
  serializableRanges = 0;
  /** Ranges that took more than one slice. */
  slicedRanges = 0;
  refusals = 0;
  compactions = 0;
  autoCompactions = 0;
  leasesGranted = 0;
  leasesRevoked = 0;
  leasesExpired = 0;
  leasesRenewed = 0;
  renewalsForwarded = 0;
  campaigns = 0;
  locks = 0;
  snapshots = 0;
  snapshotBytes = 0;
  /** Told how long one write in {@link writesPerSample} took. */
  onWrite: ((seconds: number) => void) | undefined = undefined;
}

/** The clock is not asked for every write. */
export const writesPerSample = 16;
