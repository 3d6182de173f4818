/** What discovery counts, as plain fields; `metrics.ts` shows them. */
export class DiscoveryCounters {
  lookups = 0;
  lookupsFailed = 0;
  /** Datagrams that were sent, and that failed to be. */
  sent = 0;
  sendErrors = 0;
  /** Datagrams of others that were understood and of the own cluster. */
  heard = 0;
  /** Own datagrams that came back, which they are meant to. */
  own = 0;
  garbage = 0;
  otherVersion = 0;
  otherCluster = 0;
  /** Addresses that were heard and had no room. */
  full = 0;
  /** How often the group was joined: once, and again after each loss of the network. */
  joined = 0;
  /** Attempts that failed, and losses of what was joined. */
  joinsFailed = 0;
}
