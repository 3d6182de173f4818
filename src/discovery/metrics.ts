/** The numbers of discovery in the node's registry. They are counted as plain fields. */
import type { MetricsRegistry } from "../base/metrics.ts";
import type { DiscoveryCounters } from "./counters.ts";
import type { Discovery } from "./discovery.ts";

/** The table from which the reference is generated. */
export const discoveryMetrics = {
  candidates: {
    name: "covey_discovery_candidates",
    unit: "addresses",
    help: "Addresses that may lead into the cluster.",
    kind: "gauge",
  },
  lookups: {
    name: "covey_discovery_lookups_total",
    unit: "lookups",
    help: "Look-ups of names in the DNS.",
    kind: "counter",
  },
  lookupsFailed: {
    name: "covey_discovery_lookups_failed_total",
    unit: "lookups",
    help:
      "Look-ups that failed; one for addresses has two, for IPv4 and IPv6, and often fails half.",
    kind: "counter",
  },
  sent: {
    name: "covey_discovery_datagrams_sent_total",
    unit: "datagrams",
    help: "Announcements and questions that were sent to the multicast group.",
    kind: "counter",
  },
  datagrams: {
    name: "covey_discovery_datagrams_total",
    unit: "datagrams",
    help: "Datagrams that came on the multicast port, by what they were.",
    kind: "counter",
    labels: ["kind"],
  },
  sendErrors: {
    name: "covey_discovery_send_errors_total",
    unit: "errors",
    help: "Datagrams that could not be sent, and failures of the socket.",
    kind: "counter",
  },
  joined: {
    name: "covey_discovery_group_joins_total",
    unit: "joins",
    help: "How often the multicast group was joined; more than once after a loss of the network.",
    kind: "counter",
  },
  joinsFailed: {
    name: "covey_discovery_group_losses_total",
    unit: "losses",
    help: "Attempts to join the multicast group that failed, and losses of it.",
    kind: "counter",
  },
} as const;

/** Shows the numbers of one node's discovery. */
export function showDiscoveryMetrics(
  registry: MetricsRegistry,
  discovery: Discovery,
  counters: DiscoveryCounters,
): void {
  const shown = registry.declare(discoveryMetrics);
  shown.candidates.source = () => discovery.candidates.length;
  shown.lookups.source = () => counters.lookups;
  shown.lookupsFailed.source = () => counters.lookupsFailed;
  shown.sent.source = () => counters.sent;
  shown.datagrams.with("member").source = () => counters.heard;
  shown.datagrams.with("own").source = () => counters.own;
  shown.datagrams.with("other_cluster").source = () => counters.otherCluster;
  shown.datagrams.with("other_version").source = () => counters.otherVersion;
  shown.datagrams.with("garbage").source = () => counters.garbage;
  shown.sendErrors.source = () => counters.sendErrors;
  shown.joined.source = () => counters.joined;
  shown.joinsFailed.source = () => counters.joinsFailed;
  registry.limit("discovery_candidates").source = () => counters.full;
}
