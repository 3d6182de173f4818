/** One TLS connection over a plain one. */
import type { Address } from "../../base/address.ts";
import { messageOf } from "../error.ts";
import {
  type Connection,
  type ConnectionHandler,
  NetError,
  type Peer,
  type PeerCertificate,
  type TlsOptions,
} from "../port.ts";
import { bufferBytesMax } from "./buffers.ts";
import { netError } from "./error.ts";
import {
  acceptSecure,
  dialSecure,
  type Expected,
  type Handshake,
  type SecureSocket,
  Transport,
  verifiedCertificate,
} from "./tls.ts";

/** Whoever made the connection: a listener, or the dial. */
export interface TlsOwner<S> {
  readonly handler: ConnectionHandler<S>;
  /** How long the handshake may take; a dial has a limit of its own. */
  readonly handshakeMs: number | undefined;
  /** The peer is verified; gives the state slot. */
  opening(connection: TlsConnection<S>): S;
  /** The connection is gone; without `opened`, `error` says why it never was. */
  gone(opened: boolean, error: NetError | undefined): void;
}

const flagOpened = 1;
const flagPaused = 2;
/** The peer's close_notify came. */
const flagEnded = 4;
const flagShutdown = 8;
/** Our close_notify is on its way. */
const flagShut = 16;
const flagClosing = 32;
const flagClosed = 64;
const flagWantsDrain = 128;
/** `end` was handed over. */
const flagToldEnd = 256;
/** The peer cannot hear us any more: after `end` comes `close`. */
const flagGone = 512;

/** After `close`, how long the peer may take no byte at all before the rest is given up. */
const flushStallMs = 30_000;

/** The plain connection's `state`; also its own `Peer`. */
export class TlsConnection<S> implements Connection<S>, Peer, Handshake {
  state!: S;
  certificate: PeerCertificate | undefined = undefined;
  readonly #owner: TlsOwner<S>;
  readonly #options: TlsOptions;
  readonly #expected: Expected;
  #plain!: Connection<TlsConnection<S>>;
  /** Made for the first bytes: who connects and says nothing costs no engine. */
  #transport: Transport | undefined = undefined;
  #socket: SecureSocket | undefined = undefined;
  #flags = 0;
  /** Bytes that the engine took and did not hand to the plain connection yet. */
  #held = 0;
  /** What was decrypted while paused: no more than the plain connection's last chunk. */
  #waiting: Uint8Array[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined = undefined;

  constructor(owner: TlsOwner<S>, options: TlsOptions, expected: Expected) {
    this.#owner = owner;
    this.#options = options;
    this.#expected = expected;
  }

  get peer(): Peer {
    return this;
  }

  get address(): Address {
    return this.#plain.peer.address;
  }

  get local(): Address {
    return this.#plain.peer.local;
  }

  // -------------------------------------------------------------------------------------------
  // Handshake

  /** The plain connection opened. */
  start(plain: Connection<TlsConnection<S>>): void {
    this.#plain = plain;
    const { handshakeMs } = this.#owner;
    if (handshakeMs === undefined) this.#shakeHands();
    else this.#timer = setTimeout(() => this.abort(), handshakeMs);
  }

  #shakeHands(): void {
    const transport = this.#transport = new Transport(this.#plain);
    // Its errors come back to us by other ways, but unheard they would end the process.
    transport.on("error", () => {});
    const expected = this.#expected;
    const { handshakeMs = 0 } = this.#owner;
    try {
      if ("name" in expected) dialSecure(this.#options, expected.name, transport, this);
      else acceptSecure({ ...this.#options, handshakeMs }, transport, this);
    } catch (error) {
      this.failed(error);
    }
  }

  secure(socket: SecureSocket): void {
    if ((this.#flags & (flagOpened | flagClosing | flagClosed)) !== 0) return;
    clearTimeout(this.#timer);
    try {
      this.certificate = verifiedCertificate(socket, this.#options, this.#expected);
    } catch (error) {
      return this.#finish(new NetError("tls", messageOf(error), error));
    }
    this.#socket = socket;
    socket.on("error", (error) => this.failed(error));
    socket.on("end", () => this.#ended());
    socket.on("data", (chunk: Uint8Array) => this.#decrypted(chunk));
    this.#flags |= flagOpened;
    this.state = this.#owner.opening(this);
    this.#owner.handler.open(this);
  }

  failed(error: unknown): void {
    const found = netError(
      error,
      (this.#flags & flagOpened) === 0 ? "TLS handshake" : "connection",
    );
    // Whatever the engine calls it, a handshake that fails without a reset is a matter of TLS.
    const failed = (this.#flags & flagOpened) !== 0 || found.kind === "reset"
      ? found
      : new NetError("tls", `TLS handshake: ${messageOf(error)}`, error);
    this.#finish(failed);
  }

  // -------------------------------------------------------------------------------------------
  // From the plain connection

  received(chunk: Uint8Array): void {
    if ((this.#flags & flagClosed) !== 0) return;
    if (this.#transport === undefined) this.#shakeHands();
    this.#transport!.received(chunk);
  }

  plainDrained(): void {
    this.#transport?.drained();
  }

  plainEnded(): void {
    // The engine tells of a close_notify a little later than it reads it.
    setTimeout(() => this.#plainOver((this.#flags & flagEnded) !== 0), 0);
  }

  plainClosed(error: NetError | undefined): void {
    if (error !== undefined || (this.#flags & flagClosing) !== 0) this.#finish(error);
    else setTimeout(() => this.#plainOver(false), 0);
  }

  /**
   * Nothing more comes from below. A peer that half-closes sends its close_notify first (RFC 8446
   * section 6.1). Without one it is gone: Bun's sockets close so, and an aborted connection looks so
   * too. That nothing was cut off is for the protocols above to see, as on plain connections.
   */
  #plainOver(half: boolean): void {
    if ((this.#flags & (flagOpened | flagClosed)) === 0) {
      return this.#finish(new NetError("tls", "the peer ended the handshake"));
    }
    if ((this.#flags & flagClosing) !== 0) return this.#finish();
    if (half) return;
    this.#flags |= flagEnded | flagGone;
    this.#handOver();
  }

  // -------------------------------------------------------------------------------------------
  // Reading

  #decrypted(chunk: Uint8Array): void {
    if ((this.#flags & (flagClosing | flagClosed)) !== 0) return;
    // Not as Buffer, whose `slice` does not copy.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    if ((this.#flags & flagPaused) !== 0 || this.#waiting.length > 0) this.#waiting.push(bytes);
    else this.#owner.handler.data(this, bytes);
  }

  #ended(): void {
    this.#flags |= flagEnded;
    this.#handOver();
  }

  pause(): void {
    if ((this.#flags & flagClosed) !== 0) return;
    this.#flags |= flagPaused;
    this.#plain.pause();
  }

  resume(): void {
    if ((this.#flags & (flagPaused | flagClosed)) !== flagPaused) return;
    this.#flags &= ~flagPaused;
    queueMicrotask(() => this.#handOver());
  }

  /** Hands over what was decrypted while paused, then the end, then goes on. */
  #handOver(): void {
    const not = flagPaused | flagClosing | flagClosed;
    while (this.#waiting.length > 0) {
      if ((this.#flags & not) !== 0) return;
      this.#owner.handler.data(this, this.#waiting.shift()!);
    }
    if ((this.#flags & not) !== 0) return;
    if ((this.#flags & (flagEnded | flagToldEnd)) === flagEnded) {
      this.#flags |= flagToldEnd;
      this.#owner.handler.end(this);
    }
    if ((this.#flags & flagToldEnd) !== 0 && (this.#flags & (flagShut | flagGone)) !== 0) {
      this.#finish();
    }
    if ((this.#flags & not) === 0) this.#plain.resume();
  }

  // -------------------------------------------------------------------------------------------
  // Writing

  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    if (length <= 0 || (this.#flags & (flagShutdown | flagClosing | flagClosed)) !== 0) return 0;
    const taken = Math.min(length, bufferBytesMax - this.#held);
    if (taken < length) this.#flags |= flagWantsDrain;
    if (taken === 0) return 0;
    this.#held += taken;
    // Not by `slice`, which does not copy when the array is a Buffer.
    const copy = new Uint8Array(bytes.subarray(offset, offset + taken));
    this.#socket!.write(copy, () => this.#written(taken));
    return taken;
  }

  #written(count: number): void {
    this.#held -= count;
    if ((this.#flags & flagClosing) !== 0 && this.#timer !== undefined) this.#watchStall();
    if ((this.#flags & (flagWantsDrain | flagClosing | flagClosed)) !== flagWantsDrain) return;
    if (this.#held > bufferBytesMax / 2) return;
    this.#flags &= ~flagWantsDrain;
    this.#owner.handler.drain(this);
  }

  // -------------------------------------------------------------------------------------------
  // Ending

  shutdown(): void {
    if ((this.#flags & (flagShutdown | flagClosing | flagClosed)) !== 0) return;
    this.#flags = (this.#flags | flagShutdown) & ~flagWantsDrain;
    this.#endEngine(() => {
      this.#flags |= flagShut;
      if ((this.#flags & flagClosing) !== 0) return this.#plain.close();
      this.#plain.shutdown();
      if ((this.#flags & (flagToldEnd | flagClosed)) === flagToldEnd) this.#finish();
    });
  }

  close(): void {
    if ((this.#flags & (flagClosing | flagClosed)) !== 0) return;
    const shutdown = (this.#flags & flagShutdown) !== 0;
    this.#flags = (this.#flags | flagClosing) & ~flagWantsDrain;
    this.#waiting = [];
    this.#watchStall();
    // The plain connection closes by itself what it holds, and then tells.
    if ((this.#flags & flagGone) !== 0) queueMicrotask(() => this.#finish());
    else if (!shutdown) this.#endEngine(() => this.#plain.close());
    else if ((this.#flags & flagShut) !== 0) queueMicrotask(() => this.#plain.close());
  }

  /** Flushes what the engine holds and says goodbye. */
  #endEngine(done: () => void): void {
    // The engine calls back before its last record is with the transport; see there.
    this.#socket!.end(() => setTimeout(done, 0));
  }

  #watchStall(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.abort(), flushStallMs);
  }

  abort(): void {
    if ((this.#flags & flagClosed) !== 0) return;
    this.#flags |= flagClosing;
    // The plain connection tells us that it closed once the caller's own work is done, unless it
    // did so before.
    this.#plain.abort();
    if ((this.#flags & flagGone) !== 0) queueMicrotask(() => this.#finish());
  }

  /** The dial was given up during the handshake. */
  abandon(): void {
    if ((this.#flags & flagOpened) === 0) this.abort();
  }

  #finish(error?: NetError): void {
    if ((this.#flags & flagClosed) !== 0) return;
    const orderly = (this.#flags & (flagOpened | flagClosing)) === (flagOpened | flagClosing);
    this.#flags |= flagClosed;
    clearTimeout(this.#timer);
    this.#waiting = [];
    // What the engine has handed down still goes out, an alert above all.
    if (error === undefined) this.#plain.close();
    else this.#plain.abort();
    this.#socket?.destroy();
    this.#transport?.destroy();
    const opened = (this.#flags & flagOpened) !== 0;
    this.#owner.gone(opened, error);
    if (opened) this.#owner.handler.close(this, orderly ? undefined : error);
  }
}

/** Passes a plain connection's callbacks to the TLS connection in its state slot. */
export const plainHandler: ConnectionHandler<TlsConnection<unknown>> = {
  open: (plain) => plain.state.start(plain),
  data: (plain, chunk) => plain.state.received(chunk),
  drain: (plain) => plain.state.plainDrained(),
  end: (plain) => plain.state.plainEnded(),
  close: (plain, error) => plain.state.plainClosed(error),
};
