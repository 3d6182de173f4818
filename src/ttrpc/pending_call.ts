/**
 * A call that somebody waits for. It waits for a link, starts on it, and ends once: by result,
 * status, deadline, cancellation or loss. What certainly was not sent is tried on another link.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Timer } from "../runtime/port.ts";
import type { Channel, Waiter } from "./channel.ts";
import type { CallOwner, ClientLink } from "./client_link.ts";
import { CallKind } from "./core/call.ts";
import { ClientCall } from "./core/client.ts";
import { requestMetadata, type Status } from "./core/envelope.ts";
import { Metadata } from "./metadata.ts";
import type { MethodCodec } from "./method_codec.ts";
import type { CallOptions } from "./service.ts";
import { errorFromStatus } from "./status.ts";

const none = new Uint8Array(0);
/** Connections that are tried for a call that was not sent before it fails. */
const attemptsMax = 3;
/** Nanoseconds that fit a signed 64-bit number, in milliseconds. */
const timeoutMsMax = 9_223_372_036_000;

/** The steps that unary and streaming calls share. */
export abstract class PendingCall implements Waiter, CallOwner {
  protected readonly channel: Channel;
  protected readonly codec: MethodCodec;
  protected readonly options: CallOptions;
  protected call: ClientCall;
  protected link: ClientLink | undefined = undefined;
  protected over = false;
  /** The request's message is `#payload[#payloadStart, #payloadEnd)`. */
  readonly #payload: Uint8Array;
  readonly #payloadStart: number;
  readonly #payloadEnd: number;
  readonly #deadlineMs: number;
  #metadata: Uint8Array = none;
  #attempts = 0;
  #waitTimer: Timer | undefined = undefined;
  #onAbort: (() => void) | undefined = undefined;

  /** The request's message is what the channel's encoder made last, if the call begins with one. */
  constructor(channel: Channel, codec: MethodCodec, options: CallOptions) {
    this.channel = channel;
    this.codec = codec;
    this.options = options;
    if ((codec.kind & CallKind.clientStreaming) === 0) {
      const { encoder } = channel;
      this.#payload = encoder.bytes;
      this.#payloadStart = encoder.start;
      this.#payloadEnd = encoder.end;
    } else {
      this.#payload = none;
      this.#payloadStart = this.#payloadEnd = 0;
    }
    this.call = new ClientCall(codec.kind);
    const timeoutMs = options.timeoutMs ?? channel.timeoutMs;
    this.#deadlineMs = timeoutMs === undefined ? Infinity : channel.clock.monotonicMs() + timeoutMs;
  }

  /** Starts the call, or waits for a connection first. */
  begin(): void {
    const { signal, timeoutMs } = this.options;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.#giveUp(canceled(signal), false);
        return;
      }
      this.#onAbort = () => this.#cancel(canceled(signal));
      signal.addEventListener("abort", this.#onAbort);
    }
    if (timeoutMs !== undefined && !(timeoutMs > 0)) {
      this.#giveUp(expired, false);
      return;
    }
    if (this.options.metadata !== undefined) {
      try {
        // Here, where a mistake is still the caller's own: `connected` may run inside a socket event.
        this.#metadata = encodeMetadata(this.options.metadata);
      } catch (error) {
        const { rawMessage } = CoveyError.from(error);
        const message = `the request metadata is not valid: ${rawMessage}`;
        this.#giveUp({ code: Code.invalidArgument, message, details: [] }, false);
        return;
      }
    }
    const link = this.channel.link;
    if (link !== undefined) this.connected(link);
    else this.#wait();
  }

  connected(link: ClientLink): void {
    if (this.over) return;
    this.#waitTimer?.cancel();
    this.#waitTimer = undefined;
    const call = this.call;
    const clock = this.channel.clock;
    let low = 0;
    let high = 0;
    if (this.#deadlineMs !== Infinity) {
      const leftMs = this.#deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) {
        this.#giveUp(expired, false);
        return;
      }
      const nanos = Math.ceil((leftMs > timeoutMsMax ? timeoutMsMax : leftMs) * 1e6);
      high = Math.floor(nanos / 0x100000000);
      low = nanos >>> 0;
      call.deadlineMs = this.#deadlineMs;
    }
    call.app = this;
    this.link = link;
    link.counters.callsTotal++;
    link.counters.callsOpen++;
    const refusal = link.machine.start(
      call,
      this.codec.prefix,
      this.#payload,
      low,
      high,
      this.#metadata,
      this.#payloadStart,
      this.#payloadEnd,
    );
    if (refusal !== undefined) {
      link.counters.callsOpen--;
      link.counters.ended(refusal.code);
      this.#giveUp(refusal, false);
      return;
    }
    // Writing it may have broken the connection: then it failed already, or waits for another one.
    if (call.over) return;
    this.started(link);
    link.flushSoon();
  }

  unconnected(error: CoveyError): void {
    if (this.over) return;
    this.#waitTimer?.cancel();
    this.#finish();
    this.rejected(error);
  }

  failed(status: Status, sent: boolean, metadata?: readonly string[]): void {
    // What certainly did not leave this machine may be tried on another connection.
    if (!sent && status.code === Code.unavailable && ++this.#attempts < attemptsMax && !this.over) {
      this.call = new ClientCall(this.codec.kind);
      this.link = undefined;
      if (this.retryable()) {
        this.#wait();
        return;
      }
    }
    // The server's error counts for more than what the callback may throw.
    this.tellMetadata(metadata);
    this.#giveUp(status, sent);
  }

  abstract result(
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata?: readonly string[],
  ): void;
  abstract streamEnded(): void;
  abstract readable(): void;
  abstract writable(): void;
  protected abstract started(link: ClientLink): void;
  protected abstract rejected(error: CoveyError): void;
  /** Nothing of the call has been used up that a second start would need. */
  protected abstract retryable(): boolean;

  /** Gives back what the caller's function threw: that is the call's error, not the connection's. */
  protected tellMetadata(pairs: readonly string[] | undefined): CoveyError | undefined {
    const tell = this.options.onResponseMetadata;
    if (tell === undefined || pairs === undefined) return undefined;
    const metadata = new Metadata();
    for (let at = 0; at < pairs.length; at += 2) metadata.append(pairs[at], pairs[at + 1]);
    try {
      tell(metadata);
      return undefined;
    } catch (error) {
      return CoveyError.from(error);
    }
  }

  /** The call ended; nothing of it is to be cancelled any more. */
  protected finished(): void {
    this.#finish();
  }

  /** The caller does not want the call any more. */
  protected cancelWith(status: Status): void {
    this.#cancel(status);
  }

  #wait(): void {
    if (this.#deadlineMs !== Infinity) {
      const leftMs = this.#deadlineMs - this.channel.clock.monotonicMs();
      this.#waitTimer = this.channel.clock.timer(leftMs > 0 ? leftMs : 0, waitTimedOut, this);
    }
    this.channel.wait(this);
  }

  /** The deadline passed while there was no connection; public only for the timer. */
  waitTimedOut(): void {
    this.channel.leave(this);
    this.#giveUp(expired, false);
  }

  #cancel(status: Status): void {
    if (this.over) return;
    if (this.link === undefined) {
      this.channel.leave(this);
      this.#giveUp(status, false);
    } else this.link.cancel(this.call, status);
  }

  #giveUp(status: Status, sent: boolean): void {
    if (this.over) return;
    this.#finish();
    this.rejected(errorFromStatus(status, sent));
  }

  #finish(): void {
    this.over = true;
    this.#waitTimer?.cancel();
    this.#waitTimer = undefined;
    if (this.#onAbort !== undefined) {
      this.options.signal!.removeEventListener("abort", this.#onAbort);
      this.#onAbort = undefined;
    }
  }
}

const expired: Status = { code: Code.deadlineExceeded, message: "deadline exceeded", details: [] };

function canceled(signal: AbortSignal): Status {
  const reason: unknown = signal.reason;
  if (reason instanceof CoveyError) {
    return { code: reason.code, message: reason.rawMessage, details: [] };
  }
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? expired
    : { code: Code.canceled, message: "the call was canceled", details: [] };
}

function waitTimedOut(call: PendingCall): void {
  call.waitTimedOut();
}

function encodeMetadata(init: NonNullable<CallOptions["metadata"]>): Uint8Array {
  const pairs: string[] = [];
  for (const [key, value] of Metadata.from(init)) pairs.push(key, value);
  return requestMetadata(pairs);
}
