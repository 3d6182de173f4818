/** The RPC layer's numbers in the node's registry. They are counted as plain fields elsewhere. */
import { codeName } from "../base/error.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { Listener } from "../runtime/port.ts";
import type { RpcCounters } from "../ttrpc/counters.ts";

/** The table from which the reference is generated. */
export const rpcMetrics = {
  connections: {
    name: "covey_rpc_connections",
    unit: "connections",
    help: "Open RPC connections, by the side that this node is on.",
    kind: "gauge",
    labels: ["side"],
  },
  connectionsTotal: {
    name: "covey_rpc_connections_total",
    unit: "connections",
    help: "RPC connections that were opened.",
    kind: "counter",
    labels: ["side"],
  },
  connectionsRefused: {
    name: "covey_rpc_connections_refused_total",
    unit: "connections",
    help: "Accepted connections that were closed before any call: too many, or not identified.",
    kind: "counter",
  },
  connectionsBroken: {
    name: "covey_rpc_connections_broken_total",
    unit: "connections",
    help: "Connections closed because the peer broke the protocol, stalled, or seemed dead.",
    kind: "counter",
    labels: ["side"],
  },
  handshakesFailed: {
    name: "covey_rpc_handshakes_failed_total",
    unit: "handshakes",
    help: "TLS handshakes on the mesh listener that did not end in a verified peer.",
    kind: "counter",
  },
  callsOpen: {
    name: "covey_rpc_calls",
    unit: "calls",
    help: "Calls in flight.",
    kind: "gauge",
    labels: ["side"],
  },
  calls: {
    name: "covey_rpc_calls_total",
    unit: "calls",
    help: "Calls that ended, by status code.",
    kind: "counter",
    labels: ["side", "code"],
  },
  received: {
    name: "covey_rpc_received_bytes_total",
    unit: "bytes",
    help: "Bytes read from RPC connections.",
    kind: "counter",
    labels: ["side"],
  },
  sent: {
    name: "covey_rpc_sent_bytes_total",
    unit: "bytes",
    help: "Bytes written to RPC connections.",
    kind: "counter",
    labels: ["side"],
  },
} as const;

const limitNames = [
  "message_bytes",
  "calls_per_connection",
  "streams_per_connection",
  "stream_queue",
  "connection_queue",
  "connections",
] as const;

export function showRpcMetrics(
  registry: MetricsRegistry,
  server: RpcCounters,
  client: RpcCounters,
  listeners: () => readonly Listener[],
): void {
  const shown = registry.declare(rpcMetrics);
  for (const [side, counters] of [["server", server], ["client", client]] as const) {
    shown.connections.with(side).source = () => counters.connectionsOpen;
    shown.connectionsTotal.with(side).source = () => counters.connectionsTotal;
    shown.connectionsBroken.with(side).source = () => counters.connectionsBrokenTotal;
    shown.callsOpen.with(side).source = () => counters.callsOpen;
    shown.received.with(side).source = () => counters.receivedBytesTotal;
    shown.sent.with(side).source = () => counters.sentBytesTotal;
    for (let code = 0; code <= 16; code++) {
      shown.calls.with(side, codeName(code)).source = () => counters.callsByCode[code];
    }
    for (const limit of limitNames) {
      registry.limit(`rpc_${side}_${limit}`).source = () => counters.limitHits[limit];
    }
  }
  const refusedByListeners = (): number =>
    listeners().reduce((sum, listener) => sum + listener.refused, 0);
  shown.connectionsRefused.source = () => server.connectionsRefusedTotal + refusedByListeners();
  shown.handshakesFailed.source = () =>
    listeners().reduce((sum, listener) => sum + listener.handshakesFailed, 0);
}
