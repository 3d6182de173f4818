/**
 * One established TCP or unix connection on `Deno.Conn`.
 *
 * Deno has promises where the port has callbacks. A connection waits in one `read` with a borrowed
 * buffer, and keeps what `write` took in at most {@link bufferBytesMax} bytes: one buffer that the
 * kernel is taking, and one that gathers what is written meanwhile. An idle connection holds the
 * small read buffer only.
 *
 * Tried on 2.9.5: closing rejects pending reads and writes with `Interrupted` and frees the
 * descriptor before the next turn; a read answered at once does not starve timers, since tokio makes
 * it wait every 128 times; a peer's reset after its end was read shows in the next write only.
 */
import type { Address } from "../../base/address.ts";
import type { Connection, ConnectionHandler, NetError, Peer } from "../port.ts";
import { bufferBytesMax, type BufferPool, mediumBytes, smallBytes } from "./buffers.ts";
import { netError } from "./error.ts";

/** Whoever made the connection: a listener, or the dial. */
export interface Owner<S> {
  readonly pool: BufferPool;
  readonly handler: ConnectionHandler<S>;
  /** The address asked for; for unix sockets it is also the peer's. */
  readonly address: Address;
  /** The handler is about to learn that the connection closed. */
  gone(): void;
  /** The descriptor is free again. */
  released(): void;
}

/** A read is under way. */
const flagReading = 1;
const flagPaused = 2;
/** The peer's end was read. */
const flagEnded = 4;
const flagShutdown = 8;
/** The kernel has our end. */
const flagShut = 16;
const flagClosing = 32;
const flagClosed = 64;
const flagWantsDrain = 128;
/** `data` is running: the buffer is the caller's until it returns. */
const flagDelivering = 256;
/** {@link DenoConnection} is in its sending loop, which sees to what comes next. */
const flagSending = 512;

/** After `close`, how long the peer may take no byte at all before the rest is given up. */
const flushStallMs = 30_000;
/** After a write failed, how long what the peer sent before is waited for. */
const lastReadMs = 1000;
/** After `close`, how long unread bytes are read, so that they make the kernel reset nothing. */
const discardMs = 5;

/** Also its own `Peer`, so that a connection costs few objects beside the caller's state. */
export class DenoConnection<S> implements Connection<S>, Peer {
  state!: S;
  readonly #native: Deno.Conn;
  readonly #owner: Owner<S>;
  readonly #onRead: (count: number | null) => void;
  readonly #onReadFailed: (error: unknown) => void;
  #flags = 0;
  #buffer: Uint8Array | undefined = undefined;
  /** Where the next read waits: small for who says little. */
  #bytesWanted = smallBytes;
  /** What the kernel is taking: bytes `#sent` to `#sendEnd` of the buffer. */
  #sending: Uint8Array | undefined = undefined;
  #sent = 0;
  #sendEnd = 0;
  /** What was written meanwhile: the first `#gathered` bytes of the buffer. */
  #gathering: Uint8Array | undefined = undefined;
  #gathered = 0;
  #failure: NetError | undefined = undefined;
  #stallTimer: ReturnType<typeof setTimeout> | undefined = undefined;

  constructor(native: Deno.Conn, owner: Owner<S>) {
    this.#native = native;
    this.#owner = owner;
    this.#onRead = (count) => this.#received(count);
    this.#onReadFailed = (error) => this.#readFailed(error);
    // Small messages must not wait for the answer to the one before. A TCP connection that is
    // already gone refuses, and the first read tells of it.
    try {
      if (owner.address.kind === "tcp") {
        (native as Deno.TcpConn).setNoDelay(true);
        // Deno has no call for the times (2.9.5): the system's apply, two hours of silence on most.
        (native as Deno.TcpConn).setKeepAlive(true);
      }
    } catch {
      // See above.
    }
  }

  /** Gives the connection to the module above and starts to read. */
  open(state: S): void {
    this.state = state;
    this.#owner.handler.open(this);
    this.#read();
  }

  // -------------------------------------------------------------------------------------------
  // Peer

  get peer(): Peer {
    return this;
  }

  get address(): Address {
    return this.#addressOf(this.#native.remoteAddr);
  }

  get local(): Address {
    return this.#addressOf(this.#native.localAddr);
  }

  #addressOf(native: Deno.Addr): Address {
    if (this.#owner.address.kind !== "tcp") return this.#owner.address;
    const { hostname, port } = native as Deno.NetAddr;
    // A dual-stack listener sees IPv4 peers in their IPv6 form.
    const host = hostname.startsWith("::ffff:") ? hostname.slice(7) : hostname;
    return { kind: "tcp", host, port };
  }

  // -------------------------------------------------------------------------------------------
  // Reading

  pause(): void {
    this.#flags |= flagPaused;
  }

  resume(): void {
    this.#flags &= ~flagPaused;
    this.#read();
  }

  #read(): void {
    const not = flagReading | flagDelivering | flagPaused | flagEnded | flagClosing | flagClosed;
    if ((this.#flags & not) !== 0) return;
    this.#flags |= flagReading;
    let buffer = this.#buffer;
    if (buffer === undefined || buffer.length !== this.#bytesWanted) {
      if (buffer !== undefined) this.#owner.pool.give(buffer);
      buffer = this.#buffer = this.#owner.pool.take(this.#bytesWanted);
    }
    this.#native.read(buffer).then(this.#onRead, this.#onReadFailed);
  }

  #received(count: number | null): void {
    this.#flags &= ~flagReading;
    const buffer = this.#buffer!;
    if ((this.#flags & flagClosed) !== 0) return this.#giveReadBuffer();
    if (count === null) {
      this.#giveReadBuffer();
      return this.#endReached();
    }
    this.#adapt(count, buffer.length);
    if ((this.#flags & flagClosing) !== 0) {
      // Nobody wants it any more. What waits behind it is seen to when the rest is flushed.
      return this.#giveReadBuffer();
    }
    // A count of 0 is no end, says Deno.
    if (count > 0) this.#deliver(buffer.subarray(0, count));
    if ((this.#flags & (flagPaused | flagClosing | flagClosed)) === 0) return this.#read();
    this.#giveReadBuffer();
    if (this.#failure !== undefined) this.#finish(this.#failure);
  }

  #deliver(chunk: Uint8Array): void {
    this.#flags |= flagDelivering;
    this.#owner.handler.data(this, chunk);
    this.#flags &= ~flagDelivering;
  }

  /**
   * A full buffer means that more is there, and a large one will return at once. After a partial
   * one the next read waits, with no more pinned than a connection that is not idle may cost.
   */
  #adapt(count: number, size: number): void {
    if (count === size) {
      this.#bytesWanted = size === smallBytes ? mediumBytes : bufferBytesMax;
    } else if (size === bufferBytesMax) {
      this.#bytesWanted = mediumBytes;
    } else if (count <= smallBytes) {
      this.#bytesWanted = smallBytes;
    }
  }

  #giveReadBuffer(): void {
    if (this.#buffer === undefined || (this.#flags & (flagReading | flagDelivering)) !== 0) return;
    this.#owner.pool.give(this.#buffer);
    this.#buffer = undefined;
  }

  #endReached(): void {
    this.#flags |= flagEnded;
    if (this.#failure !== undefined) return this.#finish(this.#failure);
    if ((this.#flags & flagClosing) !== 0) return;
    this.#owner.handler.end(this);
    if ((this.#flags & (flagShut | flagClosing | flagClosed)) === flagShut) this.#finish();
  }

  #readFailed(error: unknown): void {
    this.#flags &= ~flagReading;
    this.#giveReadBuffer();
    if ((this.#flags & flagClosed) !== 0) return;
    this.#finish(this.#failure ?? netError(error, "connection"));
  }

  // -------------------------------------------------------------------------------------------
  // Writing

  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    const gone = flagShutdown | flagClosing | flagClosed;
    if (length <= 0 || (this.#flags & gone) !== 0 || this.#failure !== undefined) return 0;
    const held = this.#sendEnd - this.#sent + this.#gathered;
    const taken = Math.min(length, bufferBytesMax - held);
    if (taken < length) this.#flags |= flagWantsDrain;
    if (taken === 0) return 0;
    const part = bytes.subarray(offset, offset + taken);
    if (this.#sending === undefined) {
      this.#sending = this.#owner.pool.take(taken);
      this.#sending.set(part);
      this.#sent = 0;
      this.#sendEnd = taken;
      if ((this.#flags & flagSending) === 0) this.#send();
    } else {
      this.#gather(part);
    }
    return taken;
  }

  #gather(part: Uint8Array): void {
    const before = this.#gathering;
    if (before === undefined || before.length < this.#gathered + part.length) {
      this.#gathering = this.#owner.pool.take(this.#gathered + part.length);
      if (before !== undefined) {
        this.#gathering.set(before.subarray(0, this.#gathered));
        this.#owner.pool.give(before);
      }
    }
    this.#gathering!.set(part, this.#gathered);
    this.#gathered += part.length;
  }

  /** Offers the kernel what is to be sent until all of it is gone. */
  async #send(): Promise<void> {
    this.#flags |= flagSending;
    while (this.#sending !== undefined) {
      const part = this.#sending.subarray(this.#sent, this.#sendEnd);
      try {
        this.#sent += await this.#native.write(part);
      } catch (error) {
        if ((this.#flags & flagClosed) === 0) this.#writeFailed(error);
        break;
      }
      if ((this.#flags & flagClosed) !== 0) break;
      if (this.#sent === this.#sendEnd) this.#turnOver();
      if (this.#stallTimer !== undefined) this.#watchStall();
      this.#tellDrain();
    }
    this.#flags &= ~flagSending;
    if ((this.#flags & flagClosed) !== 0 || this.#failure !== undefined) {
      return this.#giveWriteBuffers();
    }
    if ((this.#flags & flagClosing) !== 0) this.#flushed();
    else if ((this.#flags & flagShutdown) !== 0) this.#shut();
  }

  /** What was gathered is next. */
  #turnOver(): void {
    this.#owner.pool.give(this.#sending!);
    this.#sending = this.#gathering;
    this.#sendEnd = this.#gathered;
    this.#sent = 0;
    this.#gathering = undefined;
    this.#gathered = 0;
  }

  #tellDrain(): void {
    if ((this.#flags & (flagWantsDrain | flagClosing | flagClosed)) !== flagWantsDrain) return;
    // Sooner, the caller's bytes would go in small pieces.
    if (this.#sendEnd - this.#sent + this.#gathered > bufferBytesMax / 2) return;
    this.#flags &= ~flagWantsDrain;
    this.#owner.handler.drain(this);
  }

  #writeFailed(error: unknown): void {
    this.#failure = netError(error, "connection");
    if ((this.#flags & flagClosing) !== 0) return this.#finish(this.#failure);
    // The peer may have sent something before it went: a read that waits brings it, then the end.
    if ((this.#flags & flagReading) === 0) return this.#finish(this.#failure);
    this.#stallTimer = setTimeout(() => this.#finish(this.#failure), lastReadMs);
  }

  #giveWriteBuffers(): void {
    if (this.#sending !== undefined) this.#owner.pool.give(this.#sending);
    if (this.#gathering !== undefined) this.#owner.pool.give(this.#gathering);
    this.#sending = undefined;
    this.#gathering = undefined;
    this.#sent = this.#sendEnd = this.#gathered = 0;
  }

  // -------------------------------------------------------------------------------------------
  // Ending

  shutdown(): void {
    if ((this.#flags & (flagShutdown | flagClosing | flagClosed)) !== 0) return;
    this.#flags = (this.#flags | flagShutdown) & ~flagWantsDrain;
    if ((this.#flags & flagSending) === 0) this.#shut();
  }

  async #shut(): Promise<void> {
    try {
      await this.#native.closeWrite();
    } catch (error) {
      // The peer reset the connection before; a read that waits says so too.
      if ((this.#flags & (flagClosing | flagClosed)) === 0) this.#writeFailed(error);
      return;
    }
    this.#flags |= flagShut;
    if ((this.#flags & (flagEnded | flagClosing | flagClosed)) === flagEnded) this.#finish();
  }

  close(): void {
    if ((this.#flags & (flagClosing | flagClosed)) !== 0) return;
    this.#flags = (this.#flags | flagClosing) & ~flagWantsDrain;
    if ((this.#flags & flagSending) === 0) this.#flushed();
    else this.#watchStall();
  }

  /** A peer that takes nothing for long must not hold the descriptor for ever. */
  #watchStall(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(() => this.#finish(), flushStallMs);
  }

  /**
   * The kernel has all that was taken. If it also has bytes that we never read, closing makes it
   * reset the connection and drop what the peer did not fetch yet, so those are read first.
   */
  async #flushed(): Promise<void> {
    const unread = (this.#flags & (flagReading | flagEnded)) === 0;
    // Not within the caller's `close`.
    await undefined;
    if (unread) await this.#discard();
    if ((this.#flags & flagClosed) === 0) this.#finish();
  }

  async #discard(): Promise<void> {
    const buffer = this.#owner.pool.take(bufferBytesMax);
    // Ends a read that finds nothing, too.
    const timer = setTimeout(() => this.#finish(), discardMs);
    try {
      while ((this.#flags & flagClosed) === 0 && await this.#native.read(buffer) !== null);
    } catch {
      // The peer is gone, and with it the reason to be careful.
    }
    clearTimeout(timer);
    this.#owner.pool.give(buffer);
  }

  abort(): void {
    if ((this.#flags & flagClosed) !== 0) return;
    this.#flags = (this.#flags | flagClosing | flagClosed) & ~flagWantsDrain;
    this.#release();
    // The caller is in the middle of its own work.
    queueMicrotask(() => this.#tellClose(undefined));
  }

  #finish(error?: NetError): void {
    if ((this.#flags & flagClosed) !== 0) return;
    // Who closes does not care how the peer takes it.
    const own = (this.#flags & flagClosing) !== 0;
    this.#flags |= flagClosed;
    this.#release();
    this.#tellClose(own ? undefined : error);
  }

  #release(): void {
    clearTimeout(this.#stallTimer);
    this.#native.close();
    this.#owner.released();
    this.#giveReadBuffer();
  }

  #tellClose(error: NetError | undefined): void {
    this.#owner.gone();
    this.#owner.handler.close(this, error);
  }
}
