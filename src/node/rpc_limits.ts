/** The limits of the mesh listener and of every call. */
import type { Config } from "../config/types.ts";
import type { RpcLimits } from "../ttrpc/limits.ts";

/** The limits that a configuration asks for. */
export function rpcLimits(config: Config): RpcLimits {
  const { rpc } = config;
  return {
    messageBytesMax: rpc.message_bytes_max,
    callsMax: rpc.calls_per_connection_max,
    streamsMax: rpc.streams_per_connection_max,
    streamQueueBytesMax: rpc.stream_queue_bytes_max,
    streamQueueMessagesMax: rpc.stream_queue_messages_max,
    queueBytesMax: rpc.connection_queue_bytes_max,
    queueMessagesMax: rpc.connection_queue_messages_max,
    streamStallMs: rpc.stream_stall_timeout,
    connectionsPerListenerMax: rpc.connections_per_listener_max,
    connectionsMax: rpc.connections_max,
    handshakeMs: rpc.handshake_timeout,
    idleMs: rpc.idle_timeout,
    keepaliveIntervalMs: rpc.keepalive_interval,
    keepaliveTimeoutMs: rpc.keepalive_timeout,
    ioStallMs: rpc.io_stall_timeout,
  };
}
