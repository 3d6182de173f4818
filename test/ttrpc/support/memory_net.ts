/**
 * A network in memory with small sockets, and a clock that stands still until it is moved: what
 * the driver tests run on where real time and real sockets would only make them slow or vague.
 * Bytes travel one turn of the event loop after they were written.
 */
import type { TlsInspection } from "../../../src/base/certificate.ts";
import { setImmediate } from "node:timers";
import { type Address, formatAddress } from "../../../src/base/address.ts";
import type { Prng } from "../../../src/base/prng.ts";
import {
  type Clock,
  type Connection,
  type ConnectionHandler,
  type ConnectOptions,
  type Listener,
  type ListenOptions,
  type Net,
  NetError,
  type Peer,
  type Timer,
  type UdpSocket,
} from "../../../src/runtime/port.ts";

/** What the sockets of a network do; may be changed while it runs. */
export interface MemoryFaults {
  /** Bytes that one direction of a connection holds. */
  capacityBytes: number;
  /** Most that one write takes. */
  writeBytesMax: number;
  /** Most that one data callback gets. */
  chunkBytesMax: number;
  /** When given, both sizes above are drawn from 1 up to them. */
  random: Prng | undefined;
  /** `pause` lets one more callback through, as the port allows. */
  oneMoreAfterPause: boolean;
  /** Dials wait until it is false again, or time out. */
  dialsHang: boolean;
}

const calm: MemoryFaults = {
  capacityBytes: 256 << 10,
  writeBytesMax: Infinity,
  chunkBytesMax: 64 << 10,
  random: undefined,
  oneMoreAfterPause: false,
  dialsHang: false,
};

interface Bound {
  readonly options: ListenOptions<unknown>;
  readonly listener: MemoryListener;
}

export class MemoryNet implements Net {
  readonly faults: MemoryFaults;
  readonly clock: ManualClock;
  /** Every dial that was tried, good or bad. */
  dials = 0;
  readonly #bound: Map<string, Bound> = new Map();
  readonly #open: Set<MemoryConnection<unknown>> = new Set();
  #nextPort = 40_000;

  constructor(clock: ManualClock, faults: Partial<MemoryFaults> = {}) {
    this.clock = clock;
    this.faults = { ...calm, ...faults };
  }

  /** Ends that are open. */
  get connections(): number {
    return this.#open.size;
  }

  listen<S>(options: ListenOptions<S>): Promise<Listener> {
    const address = options.address.kind === "tcp" && options.address.port === 0
      ? { ...options.address, port: this.#nextPort++ }
      : options.address;
    const name = formatAddress(address);
    if (this.#bound.has(name)) return Promise.reject(new NetError("in-use", name));
    const listener = new MemoryListener(address, () => this.#bound.delete(name));
    this.#bound.set(name, { options: options as unknown as ListenOptions<unknown>, listener });
    return Promise.resolve(listener);
  }

  connect<S>(options: ConnectOptions<S>): Promise<Connection<S>> {
    this.dials++;
    return new Promise((resolve, reject) => {
      const { signal } = options;
      let settled = false;
      const fail = (kind: NetError["kind"]) => {
        if (settled) return;
        settled = true;
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
        reject(new NetError(kind, kind));
      };
      const onAbort = () => fail("aborted");
      const timer = this.clock.timer(options.timeoutMs, () => fail("timeout"), undefined);
      if (signal?.aborted) return fail("aborted");
      signal?.addEventListener("abort", onAbort);
      const attempt = () => {
        if (settled) return;
        if (this.faults.dialsHang) {
          setImmediate(attempt);
          return;
        }
        const bound = this.#bound.get(formatAddress(options.address));
        if (bound === undefined) return fail("refused");
        settled = true;
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
        resolve(this.#establish(options, bound));
      };
      setImmediate(attempt);
    });
  }

  bindUdp(): Promise<UdpSocket> {
    return Promise.reject(new NetError("unsupported", "no datagrams here"));
  }

  resolve(): Promise<never> {
    return Promise.reject(new NetError("unsupported", "no names here"));
  }

  inspectTls(): TlsInspection {
    return { problems: [] };
  }

  #establish<S>(options: ConnectOptions<S>, bound: Bound): Connection<S> {
    const local: Address = { kind: "tcp", host: "127.0.0.1", port: this.#nextPort++ };
    const remote = bound.listener.address;
    const near = new MemoryConnection<S>(this, options.handler, { address: remote, local });
    const far = new MemoryConnection<unknown>(
      this,
      bound.options.handler,
      { address: local, local: remote },
    );
    near.other = far;
    far.other = near as MemoryConnection<unknown>;
    near.state = options.state;
    const { listener } = bound;
    if (listener.connections >= bound.options.connectionsMax) {
      listener.refused++;
      this.#enter(near as MemoryConnection<unknown>);
      near.opened = true;
      options.handler.open(near);
      near.endReceived = true;
      near.wake();
      return near;
    }
    listener.connections++;
    far.onClosed = () => listener.connections--;
    this.#enter(near as MemoryConnection<unknown>);
    this.#enter(far);
    setImmediate(() => {
      if (far.phase !== "open") return;
      far.state = bound.options.state(far.peer);
      far.opened = true;
      bound.options.handler.open(far);
      far.wake();
    });
    near.opened = true;
    options.handler.open(near);
    return near;
  }

  #enter(end: MemoryConnection<unknown>): void {
    this.#open.add(end);
    const onClosed = end.onClosed;
    end.onClosed = () => {
      this.#open.delete(end);
      onClosed();
    };
  }
}

class MemoryListener implements Listener {
  readonly address: Address;
  connections = 0;
  refused = 0;
  handshakesFailed = 0;
  readonly #release: () => void;

  constructor(address: Address, release: () => void) {
    this.address = address;
    this.#release = release;
  }

  renewTls(): void {}

  stop(): void {
    this.#release();
  }
}

export class MemoryConnection<S> implements Connection<S> {
  state!: S;
  other!: MemoryConnection<unknown>;
  readonly peer: Peer;
  phase: "open" | "closed" = "open";
  opened = false;
  /** The other end sends nothing more. */
  endReceived = false;
  onClosed: () => void = () => {};
  readonly #net: MemoryNet;
  readonly #handler: ConnectionHandler<S>;
  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #paused = false;
  #oneMore = false;
  #wantsDrain = false;
  #shutdown = false;
  #endTold = false;
  #scheduled = false;

  constructor(net: MemoryNet, handler: ConnectionHandler<S>, peer: Peer) {
    this.#net = net;
    this.#handler = handler;
    this.peer = peer;
  }

  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    if (this.phase === "closed" || this.#shutdown) return 0;
    const { capacityBytes, writeBytesMax, random } = this.#net.faults;
    let room = Math.min(capacityBytes - this.other.#inboxBytes, writeBytesMax, length);
    if (this.other.phase === "closed") room = length;
    if (random !== undefined && room > 0) room = random.between(0, room);
    if (room < length) this.#wantsDrain = true;
    if (room <= 0) {
      if (this.other.#inboxBytes < capacityBytes) this.wake();
      return 0;
    }
    if (this.other.phase === "open") {
      this.other.#inbox.push(bytes.slice(offset, offset + room));
      this.other.#inboxBytes += room;
      this.other.wake();
    }
    if (room < length && this.other.#inboxBytes < capacityBytes) this.wake();
    return room;
  }

  pause(): void {
    if (!this.#paused) this.#oneMore = this.#net.faults.oneMoreAfterPause;
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.wake();
  }

  shutdown(): void {
    if (this.#shutdown || this.phase === "closed") return;
    this.#shutdown = true;
    this.other.endReceived = true;
    this.other.wake();
  }

  close(): void {
    this.shutdown();
    this.#finish(undefined);
  }

  abort(): void {
    if (this.phase === "closed") return;
    this.other.#fail();
    this.#finish(undefined);
  }

  /** Does in the next turn what there is to do. */
  wake(): void {
    if (this.#scheduled || this.phase === "closed") return;
    this.#scheduled = true;
    setImmediate(() => this.#run());
  }

  #run(): void {
    this.#scheduled = false;
    if (!this.opened) return;
    const { chunkBytesMax, random, capacityBytes } = this.#net.faults;
    if (this.phase === "open" && this.#inbox.length > 0 && (!this.#paused || this.#oneMore)) {
      this.#oneMore = false;
      const size = random === undefined ? chunkBytesMax : random.between(1, chunkBytesMax);
      const chunk = this.#takeBytes(Math.min(size, this.#inboxBytes));
      this.#handler.data(this, chunk);
      // Whoever kept the chunk reads nonsense from now on.
      chunk.fill(0xdb);
      if (this.other.#wantsDrain) this.other.wake();
      if (this.#inbox.length > 0) this.wake();
    }
    if (this.phase === "open" && this.#wantsDrain && this.other.#inboxBytes < capacityBytes) {
      this.#wantsDrain = false;
      this.#handler.drain(this);
    }
    if (this.phase === "open" && this.endReceived && this.#inbox.length === 0 && !this.#endTold) {
      this.#endTold = true;
      this.#handler.end(this);
    }
  }

  #takeBytes(count: number): Uint8Array {
    const chunk = new Uint8Array(count);
    this.#inboxBytes -= count;
    for (let at = 0; at < count;) {
      const first = this.#inbox[0];
      const part = first.subarray(0, count - at);
      chunk.set(part, at);
      at += part.length;
      if (part.length < first.length) this.#inbox[0] = first.subarray(part.length);
      else this.#inbox.shift();
    }
    return chunk;
  }

  #fail(): void {
    if (this.phase === "closed") return;
    this.#finish(new NetError("reset", "the peer reset the connection"));
  }

  #finish(error: NetError | undefined): void {
    if (this.phase === "closed") return;
    this.phase = "closed";
    this.#inbox = [];
    this.#inboxBytes = 0;
    if (this.other.#wantsDrain) this.other.wake();
    this.onClosed();
    const tell = () => this.#handler.close(this, error);
    if (this.opened) setImmediate(tell);
  }
}

interface ManualTimer extends Timer {
  readonly atMs: number;
  readonly order: number;
  run(): void;
}

/** Time that only {@link ManualClock.advance} moves. */
export class ManualClock implements Clock {
  nowMs = 1000;
  #timers: ManualTimer[] = [];
  #order = 0;

  /** Timers that are armed. */
  get timers(): number {
    return this.#timers.length;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }

  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer {
    const timer: ManualTimer = {
      atMs: this.nowMs + Math.max(delayMs, 0),
      order: this.#order++,
      run: () => callback(argument),
      cancel: () => {
        this.#timers = this.#timers.filter((one) => one !== timer);
      },
    };
    this.#timers.push(timer);
    return timer;
  }

  /** Moves time on and lets everything that is due happen, with what follows from it. */
  async advance(byMs: number): Promise<void> {
    await turns();
    const untilMs = this.nowMs + byMs;
    while (true) {
      const due = this.#timers.filter((one) => one.atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (due === undefined) break;
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.cancel();
      due.run();
      await turns();
    }
    this.nowMs = untilMs;
    await turns();
  }

  /** As after a long sleep: time moves at once, then all that is due happens. */
  async jump(byMs: number): Promise<void> {
    this.nowMs += byMs;
    await this.advance(0);
  }
}

/** Lets pending turns of the event loop, and the promises between them, run. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
