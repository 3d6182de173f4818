/** The cache's numbers in the node's registry. They are counted as plain fields elsewhere. */
import type { CacheModule } from "./cache_module.ts";
import type { MetricsRegistry } from "../base/metrics.ts";

/** The table from which the reference is generated. */
export const cacheMetrics = {
  answers: {
    name: "covey_cache_answers_total",
    unit: "requests",
    help:
      "Where values came from: memory (own keys), copies of other members' keys, the owner, or a " +
      "source of this node.",
    kind: "counter",
    labels: ["from"],
  },
  misses: {
    name: "covey_cache_misses_total",
    unit: "requests",
    help: "Callers whose key was not in memory, requests of members included.",
    kind: "counter",
  },
  fillFailures: {
    name: "covey_cache_fill_failures_total",
    unit: "fills",
    help: "Sources that failed, that took too long, and that were told to stop.",
    kind: "counter",
    labels: ["cause"],
  },
  fallbacks: {
    name: "covey_cache_fallbacks_total",
    unit: "keys",
    help: "Keys that this node's own source had to give because their owner could not.",
    kind: "counter",
  },
  ownersSilent: {
    name: "covey_cache_owners_silent_total",
    unit: "owners",
    help: "How often an owner said nothing when it was asked whether it is there.",
    kind: "counter",
  },
  misrouted: {
    name: "covey_cache_misrouted_total",
    unit: "requests",
    help:
      "Requests of members that took this node for the owner of a key that it does not own in " +
      "its own view, and requests that came from another view.",
    kind: "counter",
    labels: ["cause"],
  },
  memory: {
    name: "covey_cache_memory_bytes",
    unit: "bytes",
    help: "Keys, values and their overhead: of own keys, and of copies.",
    kind: "gauge",
    labels: ["kind"],
  },
  memoryMax: {
    name: "covey_cache_memory_max_bytes",
    unit: "bytes",
    help: "The most that they may take, together.",
    kind: "gauge",
  },
  entries: {
    name: "covey_cache_entries",
    unit: "values",
    help: "Values in memory: of own keys, and copies.",
    kind: "gauge",
    labels: ["kind"],
  },
  gone: {
    name: "covey_cache_gone_total",
    unit: "values",
    help: "Values that left memory: for want of room, at the end of their time, or removed.",
    kind: "counter",
    labels: ["cause"],
  },
  passedThrough: {
    name: "covey_cache_passed_through_total",
    unit: "values",
    help: "Values that were too large to be kept.",
    kind: "counter",
  },
  copied: {
    name: "covey_cache_copied_total",
    unit: "values",
    help: "Copies that were made of other members' values.",
    kind: "counter",
  },
  waiting: {
    name: "covey_cache_waiting",
    unit: "callers",
    help: "Callers that wait for a value now.",
    kind: "gauge",
  },
  fills: {
    name: "covey_cache_fills",
    unit: "fills",
    help:
      "Sources that run: wanted ones, and those that were told to stop and have not; and keys " +
      "that wait for their turn.",
    kind: "gauge",
    labels: ["state"],
  },
} as const;

/** Shows a module's numbers. */
export function showCacheMetrics(registry: MetricsRegistry, module: CacheModule): void {
  const shown = registry.declare(cacheMetrics);
  const { counters, settings, slots, store } = module;
  shown.answers.with("memory").source = () => counters.hits;
  shown.answers.with("copy").source = () => counters.copyHits;
  shown.answers.with("owner").source = () => counters.asked;
  shown.answers.with("source").source = () => counters.filled;
  shown.misses.source = () => counters.misses;
  shown.fillFailures.with("error").source = () => counters.fillErrors;
  shown.fillFailures.with("timeout").source = () => counters.fillTimeouts;
  shown.fillFailures.with("stopped").source = () => counters.fillsCanceled;
  shown.fallbacks.source = () => counters.fallbacks;
  shown.ownersSilent.source = () => counters.ownersSilent;
  shown.misrouted.with("not_owner").source = () => counters.misrouted;
  shown.misrouted.with("other_view").source = () => counters.otherView;
  shown.memory.with("own").source = () => store.own.bytes;
  shown.memory.with("copy").source = () => store.copies.bytes;
  shown.memoryMax.source = () => settings.memoryBytesMax;
  shown.entries.with("own").source = () => store.own.count;
  shown.entries.with("copy").source = () => store.copies.count;
  shown.gone.with("evicted").source = () => store.evicted;
  shown.gone.with("expired").source = () => counters.expired;
  shown.gone.with("removed").source = () => counters.removed;
  shown.passedThrough.source = () => counters.passedThrough;
  shown.copied.source = () => counters.copied;
  shown.waiting.source = () => module.crowd.waiting;
  shown.fills.with("wanted").source = () => slots.active;
  shown.fills.with("stopping").source = () => slots.running - slots.active;
  shown.fills.with("queued").source = () => slots.queued;
  registry.limit("cache_waiters").source = () => counters.waitersRefused;
}
