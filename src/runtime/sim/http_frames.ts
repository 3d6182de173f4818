/**
 * What the simulator's HTTP says on a stream: one request per connection as length-prefixed
 * frames. Not HTTP's syntax, but the same streams, windows, resets and cuts as everything else.
 */
import { decodeText, encodeText } from "../../base/bytes.ts";
import type { Connection, ConnectionHandler, NetError } from "../port.ts";

export const FrameKind = {
  requestHead: 1,
  responseHead: 2,
  body: 3,
  bodyEnd: 4,
  text: 5,
  binary: 6,
  close: 7,
} as const;

export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

const headBytes = 5;
/** A longer frame is none of ours: somebody speaks something else on this port. */
const frameBytesMax = 64 * 1024 * 1024;

export interface RequestHead {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly webSocket: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly hasBody: boolean;
}

export interface FrameHandler {
  /**
   * Whether what came before is not read yet, so that reading must pause. Asked at the start of an
   * event, because within one the engines' streams get on at their own pace.
   */
  behind?(): boolean;
  frame(stream: FrameStream, kind: FrameKind, payload: Uint8Array): void;
  /** All that waited has been taken by the connection. */
  drained(stream: FrameStream): void;
  /** Last call; `error` when it broke. */
  ended(stream: FrameStream, error: NetError | undefined): void;
}

/** Frames in both directions on one connection. */
export class FrameStream {
  handler: FrameHandler;
  connection!: Connection<FrameStream>;
  /** Bytes that the connection has not taken. */
  waitingBytes = 0;
  #waiting: Uint8Array[] = [];
  #received = new Uint8Array(0);
  #closing = false;
  #over = false;
  #drainWaiters: (() => void)[] = [];

  constructor(handler: FrameHandler) {
    this.handler = handler;
  }

  get over(): boolean {
    return this.#over;
  }

  send(kind: FrameKind, payload: Uint8Array): void {
    if (this.#over || this.#closing) return;
    const frame = new Uint8Array(headBytes + payload.length);
    frame[0] = kind;
    new DataView(frame.buffer).setUint32(1, payload.length);
    frame.set(payload, headBytes);
    this.#waiting.push(frame);
    this.waitingBytes += frame.length;
    this.#flush();
  }

  sendJson(kind: FrameKind, value: RequestHead | ResponseHead): void {
    this.send(kind, encodeText(JSON.stringify(value)));
  }

  /** Resolves once nothing waits, or the connection is over. */
  flushed(): Promise<void> {
    if (this.#waiting.length === 0 || this.#over) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /** Closes after what waits has been taken. */
  close(): void {
    this.#closing = true;
    if (this.#waiting.length === 0) this.connection.close();
  }

  abort(): void {
    this.connection.abort();
  }

  receive(chunk: Uint8Array): void {
    if (this.handler.behind?.() === true) this.connection.pause();
    const bytes = new Uint8Array(this.#received.length + chunk.length);
    bytes.set(this.#received);
    bytes.set(chunk, this.#received.length);
    let at = 0;
    while (bytes.length - at >= headBytes) {
      const length = new DataView(bytes.buffer).getUint32(at + 1);
      if (length > frameBytesMax || bytes[at] < 1 || bytes[at] > FrameKind.close) {
        this.connection.abort();
        return;
      }
      if (bytes.length - at - headBytes < length) break;
      const payload = bytes.slice(at + headBytes, at + headBytes + length);
      const kind = bytes[at] as FrameKind;
      at += headBytes + length;
      this.handler.frame(this, kind, payload);
    }
    this.#received = bytes.slice(at);
  }

  drained(): void {
    this.#flush();
    if (this.#waiting.length === 0 && !this.#closing) this.handler.drained(this);
  }

  ended(error: NetError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#waiting = [];
    this.waitingBytes = 0;
    this.#wake();
    this.handler.ended(this, error);
  }

  #flush(): void {
    while (this.#waiting.length > 0) {
      const frame = this.#waiting[0];
      const taken = this.connection.write(frame);
      this.waitingBytes -= taken;
      if (taken < frame.length) {
        this.#waiting[0] = frame.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
    this.#wake();
    if (this.#closing) this.connection.close();
  }

  #wake(): void {
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter();
  }
}

/** The one handler of all HTTP connections; what differs is in the state slot. */
export const frameConnectionHandler: ConnectionHandler<FrameStream> = {
  open(connection) {
    connection.state.connection = connection;
  },
  data(connection, chunk) {
    connection.state.receive(chunk);
  },
  drain(connection) {
    connection.state.drained();
  },
  end(connection) {
    // A half-closed peer is a peer that went away: nobody half-closes here on purpose.
    connection.close();
  },
  close(connection, error) {
    connection.state.ended(error);
  },
};

/** The head of a request or response; undefined when it is not what {@link FrameStream} sends. */
export function readHead<T extends RequestHead | ResponseHead>(payload: Uint8Array): T | undefined {
  const text = decodeText(payload);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch {
    // Somebody who speaks something else; the caller closes the connection.
    return undefined;
  }
}

/**
 * Headers in the spelling that both engines agree on. For a body whose type nobody gave, Deno fills
 * in `text/plain;charset=UTF-8` and Bun nothing; to JSON and blobs Bun adds `;charset=utf-8`.
 */
export function headerList(headers: Headers): [string, string][] {
  return [...headers]
    .filter(([name, value]) => name !== "content-type" || value !== "text/plain;charset=UTF-8")
    .map(([name, value]) => [
      name,
      name === "content-type" ? value.replace(/;charset=utf-8$/, "") : value,
    ]);
}
