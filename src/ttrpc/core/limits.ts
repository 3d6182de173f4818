/** The bounds of one connection, and what the machine tells its driver. */
import { Code } from "../../base/error.ts";
import type { Call } from "./call.ts";
import type { Status } from "./envelope.ts";

/** Bounds of one connection. Sizes in bytes, times in milliseconds. */
export interface ConnectionLimits {
  /** Largest data of one frame, envelope included. */
  readonly messageBytesMax: number;
  /** Calls of all kinds at a time. */
  readonly callsMax: number;
  /** Streaming calls among them. */
  readonly streamsMax: number;
  /** What one stream may hold that its reader has not taken; also the credit window. */
  readonly streamQueueBytesMax: number;
  readonly streamQueueMessagesMax: number;
  /** What all queues of the connection may hold, each direction for itself. */
  readonly queueBytesMax: number;
  readonly queueMessagesMax: number;
  /** How long a stream with a slow reader may hold up the connection of a peer without credits. */
  readonly streamStallMs: number;
}

export interface ConnectionEvents<C extends Call> {
  /** A message or the end is there for a reader that waits. */
  readable(call: C): void;
  /** The outbox is empty again and a producer waits. */
  writable(call: C): void;
  /** The call is over although its driver did not end it. */
  failed(call: C, status: Status): void;
  /** The connection must be closed at once. */
  broken(reason: string): void;
  /** A limit was hit; for the counters. */
  limitHit(limit: LimitName): void;
}

export type LimitName =
  | "message_bytes"
  | "calls_per_connection"
  | "streams_per_connection"
  | "stream_queue"
  | "connection_queue";

/** The status of a call that a limit ends. */
export function exhausted(message: string): Status {
  return { code: Code.resourceExhausted, message, details: [] };
}
