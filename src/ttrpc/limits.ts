/** The bounds of RPC connections with their defaults; each has a key in the `rpc` section. */
import type { ConnectionLimits } from "./core/limits.ts";
import { messageBytesDefault } from "./core/frame.ts";

export interface RpcLimits extends ConnectionLimits {
  /** Connections of one listener. */
  readonly connectionsPerListenerMax: number;
  /** Accepted connections of a server in all. */
  readonly connectionsMax: number;
  /** How long the identification of a new connection may take. */
  readonly handshakeMs: number;
  /** A server closes a connection without calls after this long; 0 for never. */
  readonly idleMs: number;
  /** Between covey peers: silence after which a sign of life is asked for; 0 for never. */
  readonly keepaliveIntervalMs: number;
  /** How long the sign of life may take before the peer counts as dead. */
  readonly keepaliveTimeoutMs: number;
  /** Longest stop in the middle of a frame, or of a write, before the connection is closed. */
  readonly ioStallMs: number;
}

export const rpcLimitsDefault: RpcLimits = {
  messageBytesMax: messageBytesDefault,
  callsMax: 1024,
  streamsMax: 1024,
  streamQueueBytesMax: 1 << 20,
  streamQueueMessagesMax: 1024,
  queueBytesMax: 16 << 20,
  queueMessagesMax: 16_384,
  streamStallMs: 250,
  connectionsPerListenerMax: 1024,
  connectionsMax: 4096,
  handshakeMs: 5000,
  idleMs: 0,
  keepaliveIntervalMs: 10_000,
  keepaliveTimeoutMs: 5000,
  ioStallMs: 60_000,
};
