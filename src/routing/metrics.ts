/** The numbers of routed calls in the node's registry. They are counted as plain fields elsewhere. */
import type { MetricsRegistry } from "../base/metrics.ts";
import type { Router } from "./router.ts";

/** The table from which the reference is generated. */
export const routingMetrics = {
  calls: {
    name: "covey_routing_calls_total",
    unit: "calls",
    help: "Calls made through routed clients.",
    kind: "counter",
  },
  local: {
    name: "covey_routing_local_calls_total",
    unit: "calls",
    help: "Of these, those that went to this node itself.",
    kind: "counter",
  },
  retries: {
    name: "covey_routing_retries_total",
    unit: "calls",
    help: "Times that a call went to another member because it was not sent to the one before.",
    kind: "counter",
  },
  unoffered: {
    name: "covey_routing_unoffered_total",
    unit: "calls",
    help: "Calls that failed because no member offered what they asked for.",
    kind: "counter",
  },
  waits: {
    name: "covey_routing_waits_total",
    unit: "calls",
    help: "Calls that waited for a first member to offer their service.",
    kind: "counter",
  },
  waiting: {
    name: "covey_routing_waiting",
    unit: "calls",
    help: "Calls that wait for that now.",
    kind: "gauge",
  },
  cut: {
    name: "covey_routing_cut_total",
    unit: "calls",
    help: "Calls that failed because their member had left and its time to drain was over.",
    kind: "counter",
  },
  channels: {
    name: "covey_routing_channels",
    unit: "channels",
    help: "Members to which this node has a channel for routed calls.",
    kind: "gauge",
  },
  draining: {
    name: "covey_routing_draining_members",
    unit: "members",
    help: "Members that left while calls to them were under way, which still are.",
    kind: "gauge",
  },
} as const;

export function showRoutingMetrics(registry: MetricsRegistry, router: Router): void {
  const shown = registry.declare(routingMetrics);
  const { counters } = router;
  shown.calls.source = () => counters.callsTotal;
  shown.local.source = () => counters.localCallsTotal;
  shown.retries.source = () => counters.retriesTotal;
  shown.unoffered.source = () => counters.unofferedTotal;
  shown.waits.source = () => counters.waitsTotal;
  shown.waiting.source = () => router.waiting;
  shown.cut.source = () => counters.cutTotal;
  shown.channels.source = () => router.channels;
  shown.draining.source = () => router.draining;
  registry.limit("routing_waiters").source = () => counters.waitsRefusedTotal;
}
