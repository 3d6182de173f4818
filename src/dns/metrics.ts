/** The numbers of the DNS server in the node's registry. They are counted as plain fields. */
import type { MetricsRegistry } from "../base/metrics.ts";
import { outcomes } from "./core/responder.ts";
import type { DnsServer } from "./server.ts";

/** The table from which the reference is generated. */
export const dnsMetrics = {
  questions: {
    name: "covey_dns_questions_total",
    unit: "questions",
    help: "Questions that came, by transport and by what became of them; garbage has no answer.",
    kind: "counter",
    labels: ["transport", "outcome"],
  },
  truncated: {
    name: "covey_dns_truncated_total",
    unit: "answers",
    help: "UDP answers that said that there is more over TCP.",
    kind: "counter",
  },
  overBudget: {
    name: "covey_dns_over_budget_total",
    unit: "answers",
    help: "UDP answers that were cut short because their network got too many bytes.",
    kind: "counter",
  },
  sampled: {
    name: "covey_dns_sampled_total",
    unit: "answers",
    help: "Answers that named some of the members that offer a service, chosen at random.",
    kind: "counter",
  },
  udpErrors: {
    name: "covey_dns_udp_errors_total",
    unit: "errors",
    help: "Answers that could not be sent, and failures of the UDP socket.",
    kind: "counter",
  },
  tcpConnections: {
    name: "covey_dns_tcp_connections_total",
    unit: "connections",
    help: "TCP connections that were accepted.",
    kind: "counter",
  },
  tcpClosed: {
    name: "covey_dns_tcp_closed_total",
    unit: "connections",
    help: "TCP connections that were closed for being slow, asking too much or sending no DNS.",
    kind: "counter",
  },
  hidden: {
    name: "covey_dns_hidden",
    unit: "names",
    help: "Names of members and services that are no host names and cannot be asked for.",
    kind: "gauge",
  },
} as const;

/** Shows one server's numbers. */
export function showDnsMetrics(registry: MetricsRegistry, server: DnsServer): void {
  const shown = registry.declare(dnsMetrics);
  const { counters } = server;
  for (const outcome of outcomes) {
    shown.questions.with("udp", outcome).source = () => counters.udp[outcome];
    shown.questions.with("tcp", outcome).source = () => counters.tcp[outcome];
  }
  shown.truncated.source = () => counters.truncated;
  shown.overBudget.source = () => counters.overBudget;
  shown.sampled.source = () => counters.sampled;
  shown.udpErrors.source = () => counters.udpErrors;
  shown.tcpConnections.source = () => counters.tcpConnections;
  shown.tcpClosed.source = () => counters.tcpClosed;
  shown.hidden.source = () => server.hidden;
  registry.limit("dns_tcp_connections").source = () => server.connectionsRefused;
}
