/** The store's numbers in the node's registry. They are counted as plain fields elsewhere. */
import type { KvModule } from "./kv_module.ts";
import type { MetricsRegistry } from "../base/metrics.ts";

/** The table from which the reference is generated. */
export const kvMetrics = {
  requests: {
    name: "covey_kv_requests_total",
    unit: "requests",
    help: "Requests that this node took, by what they ask.",
    kind: "counter",
    labels: ["kind"],
  },
  refusals: {
    name: "covey_kv_refusals_total",
    unit: "requests",
    help: "Commands that the store refused: quota, unknown lease, compacted revision and the like.",
    kind: "counter",
  },
  writeSeconds: {
    name: "covey_kv_write_seconds",
    unit: "seconds",
    help: "From proposing a command to its result, of one command in 16 of this node.",
    kind: "histogram",
  },
  keys: {
    name: "covey_kv_keys",
    unit: "keys",
    help: "Keys in the store.",
    kind: "gauge",
  },
  revision: {
    name: "covey_kv_revision",
    unit: "revisions",
    help: "The newest revision that this node has applied.",
    kind: "gauge",
  },
  compactRevision: {
    name: "covey_kv_compact_revision",
    unit: "revisions",
    help: "The oldest revision that can be read.",
    kind: "gauge",
  },
  database: {
    name: "covey_kv_database_bytes",
    unit: "bytes",
    help: "What counts towards the quota.",
    kind: "gauge",
  },
  quota: {
    name: "covey_kv_quota_bytes",
    unit: "bytes",
    help: "The quota, above which writes are refused.",
    kind: "gauge",
  },
  full: {
    name: "covey_kv_full",
    unit: "stores",
    help: "1 while writes are refused because the quota is reached.",
    kind: "gauge",
  },
  history: {
    name: "covey_kv_history_bytes",
    unit: "bytes",
    help: "The part of the database that a compaction could free.",
    kind: "gauge",
  },
  memory: {
    name: "covey_kv_memory_bytes",
    unit: "bytes",
    help: "What keys and values take in memory, free room included.",
    kind: "gauge",
  },
  pinned: {
    name: "covey_kv_pinned_bytes",
    unit: "bytes",
    help: "The part of it that is kept for snapshots that are being read.",
    kind: "gauge",
  },
  compactions: {
    name: "covey_kv_compactions_total",
    unit: "compactions",
    help: "Compactions that this node asked for: clients' own, and the leader's automatic ones.",
    kind: "counter",
    labels: ["cause"],
  },
  sessions: {
    name: "covey_kv_sessions",
    unit: "sessions",
    help: "Client sessions in the store.",
    kind: "gauge",
  },
  sessionBytes: {
    name: "covey_kv_session_bytes",
    unit: "bytes",
    help: "What results that are kept for retries take.",
    kind: "gauge",
  },
  leases: {
    name: "covey_kv_leases",
    unit: "leases",
    help: "Leases in the store.",
    kind: "gauge",
  },
  leaseEvents: {
    name: "covey_kv_lease_events_total",
    unit: "leases",
    help:
      "Leases granted and revoked through this node, renewed and ended by it as the leader, and " +
      "renewals that it passed on to the leader.",
    kind: "counter",
    labels: ["event"],
  },
  watches: {
    name: "covey_kv_watches",
    unit: "watches",
    help: "Watches that this node serves.",
    kind: "gauge",
  },
  watchStreams: {
    name: "covey_kv_watch_streams",
    unit: "streams",
    help: "Streams of watches: all, and those that do not keep up.",
    kind: "gauge",
    labels: ["state"],
  },
  watchQueue: {
    name: "covey_kv_watch_queue_bytes",
    unit: "bytes",
    help: "Events that wait to be sent to watches.",
    kind: "gauge",
  },
  watchSlow: {
    name: "covey_kv_watch_slow_total",
    unit: "streams",
    help: "How often a stream of watches fell behind and was read for from history.",
    kind: "counter",
  },
  watchCompacted: {
    name: "covey_kv_watch_compacted_total",
    unit: "watches",
    help: "Watches that ended because a compaction took what they were to be told.",
    kind: "counter",
  },
  watchEvents: {
    name: "covey_kv_watch_events_total",
    unit: "events",
    help: "Events that were sent to watches.",
    kind: "counter",
  },
  watchResponses: {
    name: "covey_kv_watch_responses_total",
    unit: "messages",
    help: "Messages that carried them.",
    kind: "counter",
  },
  snapshots: {
    name: "covey_kv_snapshots_total",
    unit: "snapshots",
    help: "Snapshots of the store that were asked for.",
    kind: "counter",
  },
  snapshotBytes: {
    name: "covey_kv_snapshot_sent_bytes_total",
    unit: "bytes",
    help: "Bytes of snapshots that were sent.",
    kind: "counter",
  },
} as const;

/** Shows a module's numbers; the store's own are asked for once a scrape. */
export function showKvMetrics(registry: MetricsRegistry, module: KvModule): void {
  const shown = registry.declare(kvMetrics);
  const { counters, hub } = module;
  const watching = hub.counters;
  const requests: Readonly<Record<string, () => number>> = {
    put: () => counters.puts,
    delete_range: () => counters.deletes,
    txn: () => counters.transactions,
    txn_read: () => counters.readTransactions,
    range: () => counters.ranges - counters.serializableRanges,
    range_serializable: () => counters.serializableRanges,
    campaign: () => counters.campaigns,
    lock: () => counters.locks,
  };
  for (const kind of Object.keys(requests)) shown.requests.with(kind).source = requests[kind];
  shown.refusals.source = () => counters.refusals;
  counters.onWrite = (seconds) => shown.writeSeconds.observe(seconds);

  registry.onScrape(() => {
    const statistics = module.machine.statistics();
    shown.keys.value = statistics.keys;
    shown.revision.value = statistics.revision;
    shown.compactRevision.value = statistics.compactRevision;
    shown.database.value = statistics.bytes;
    shown.quota.value = statistics.bytesMax;
    shown.full.value = module.health.isFull ? 1 : 0;
    shown.history.value = statistics.historyBytes;
    shown.memory.value = statistics.memoryBytes;
    shown.pinned.value = statistics.pinnedBytes;
    shown.sessions.value = statistics.sessions;
    shown.sessionBytes.value = statistics.sessionBytes;
    shown.leases.value = statistics.leases;
  });
  shown.compactions.with("client").source = () => counters.compactions;
  shown.compactions.with("automatic").source = () => counters.autoCompactions;

  shown.leaseEvents.with("granted").source = () => counters.leasesGranted;
  shown.leaseEvents.with("revoked").source = () => counters.leasesRevoked;
  shown.leaseEvents.with("renewed").source = () => counters.leasesRenewed;
  shown.leaseEvents.with("ended").source = () => counters.leasesExpired;
  shown.leaseEvents.with("passed_on").source = () => counters.renewalsForwarded;

  shown.watches.source = () => watching.watches;
  shown.watchStreams.with("all").source = () => watching.streams;
  shown.watchStreams.with("slow").source = () => watching.streamsSlow;
  shown.watchQueue.source = () => hub.queuedBytes;
  shown.watchSlow.source = () => watching.slowTotal;
  shown.watchCompacted.source = () => watching.compactedTotal;
  shown.watchEvents.source = () => watching.eventsTotal;
  shown.watchResponses.source = () => watching.responsesTotal;
  registry.limit("kv_watches").source = () => watching.limitHits;

  shown.snapshots.source = () => counters.snapshots;
  shown.snapshotBytes.source = () => counters.snapshotBytes;
}
