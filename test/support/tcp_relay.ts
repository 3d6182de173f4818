/**
 * A TCP relay between a dialler and a target, with the faults of a bad network: delay with jitter,
 * loss, little bandwidth, and cuts of one or both directions, for all connections or for those of
 * one source. Written on the runtime's port, so it runs under Bun, Deno and the simulator. What it
 * draws comes from its seed, per connection and direction.
 *
 * Loss is what TCP makes of it, a stall: nothing is missing, but what was lost and everything
 * behind it comes later, by one round trip where enough follows for the peer to notice, else by the
 * retransmission timeout, doubled each time the same piece is lost again.
 *
 * A cut holds bytes and delivers them after `heal`; the dialler's side stays open and, once the
 * relay holds `queueBytesMax`, does not take more, as a kernel's send buffer would.
 */
import type { Address } from "../../src/base/address.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Clock, Connection, Listener, Net, Timer } from "../../src/runtime/port.ts";

/** `forward` is from the dialler to the target. */
export type Direction = "forward" | "back";

/** The conditions of one direction. */
export interface LinkConditions {
  /** One way. */
  readonly delayMs: number;
  /** Added to the delay: evenly from -jitter to +jitter. The order of the bytes stays. */
  readonly jitterMs: number;
  /** Chance that a segment of 1448 bytes is lost, from 0 to 1. */
  readonly loss: number;
  /** 0 for no limit. */
  readonly bytesPerSecond: number;
  /** Holds everything. */
  readonly cut: boolean;
}

export interface TcpRelayOptions {
  readonly net: Net;
  readonly clock: Clock;
  /** Port 0 lets the system choose. */
  readonly listen: Address;
  /** Asked at each connection, so that the target may move. */
  readonly target: () => Address;
  readonly seed: number;
  /** Who dialled, by the port it came from; conditions may be set for one source alone. */
  readonly source?: (port: number) => string;
}

const clear: LinkConditions = {
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  bytesPerSecond: 0,
  cut: false,
};
const segmentBytes = 1448;
/** Duplicate acknowledgements after which TCP sends again without waiting for its timer. */
const segmentsToNotice = 3;
/** Linux waits this long at least before it sends again. */
const retransmitMsMin = 200;
/** The same piece is lost at most this often more: a link on which nothing arrives is a cut. */
const retransmitsMax = 6;
const queueBytesMax = 4 << 20;
const connectMs = 10_000;
/** Delivered pieces that may stand before the first one that is not. */
const piecesKept = 1024;

const directions: readonly Direction[] = ["forward", "back"];

export class TcpRelay {
  readonly #options: TcpRelayOptions;
  #listener: Listener | undefined = undefined;
  /** By source, then by direction; what is not set for a source is as for all. */
  readonly #conditions: Map<string, Record<Direction, Partial<LinkConditions>>> = new Map();
  readonly #pairs: Set<Pair> = new Set();
  readonly #prng: Prng;
  /** Connections that it could not pass on because the target did not answer. */
  refused = 0;

  private constructor(options: TcpRelayOptions) {
    this.#options = options;
    this.#prng = new Prng(options.seed);
  }

  static async open(options: TcpRelayOptions): Promise<TcpRelay> {
    const relay = new TcpRelay(options);
    relay.#listener = await options.net.listen<Pipe>({
      address: options.listen,
      connectionsMax: 4096,
      state: () => undefined as unknown as Pipe,
      handler: {
        open: (connection) => relay.#accepted(connection),
        data: (connection, chunk) => connection.state.received(chunk),
        drain: (connection) => connection.state.pair.opposite(connection.state).drained(),
        end: (connection) => connection.state.ended(),
        close: (connection, error) => connection.state.closed(error !== undefined),
      },
    });
    return relay;
  }

  /** Where it is dialled. */
  get address(): Address {
    return this.#listener!.address;
  }

  /** Open connections. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Changes conditions, of one direction or both, for one source or for all. */
  set(
    conditions: Partial<LinkConditions>,
    only: { readonly direction?: Direction; readonly source?: string } = {},
  ): void {
    const source = only.source ?? "";
    const present = this.#conditions.get(source) ?? { forward: {}, back: {} };
    for (const direction of directions) {
      if (only.direction !== undefined && only.direction !== direction) continue;
      present[direction] = { ...present[direction], ...conditions };
    }
    this.#conditions.set(source, present);
    for (const pair of this.#pairs) pair.changed();
  }

  /** Holds everything that passes; one direction or both, of one source or of all. */
  cut(only: { readonly direction?: Direction; readonly source?: string } = {}): void {
    this.set({ cut: true }, only);
  }

  /** Ends every fault, of one source or of all. What was held is delivered. */
  heal(source?: string): void {
    if (source === undefined) this.#conditions.clear();
    else this.#conditions.delete(source);
    for (const pair of this.#pairs) pair.changed();
  }

  /** Resets the connections that are open; new ones are taken. */
  reset(): void {
    for (const pair of [...this.#pairs]) pair.abort();
  }

  /** Ends it with all of its connections. */
  close(): void {
    this.#listener?.stop();
    this.reset();
  }

  /** What holds for a source now. */
  conditionsOf(source: string, direction: Direction): LinkConditions {
    return {
      ...clear,
      ...this.#conditions.get("")?.[direction],
      ...(source === "" ? undefined : this.#conditions.get(source)?.[direction]),
    };
  }

  #accepted(connection: Connection<Pipe>): void {
    const peer = connection.peer.address;
    const source = peer.kind === "tcp" ? this.#options.source?.(peer.port) ?? "" : "";
    const pair = new Pair(this, this.#options.clock, source, this.#prng.fork());
    connection.state = pair.forward;
    pair.forward.from = connection;
    this.#pairs.add(pair);
    void this.#dial(pair);
  }

  async #dial(pair: Pair): Promise<void> {
    const { net, target } = this.#options;
    try {
      await net.connect<Pipe>({
        address: target(),
        timeoutMs: connectMs,
        state: pair.back,
        handler: {
          open: (connection) => pair.connected(connection),
          data: (connection, chunk) => connection.state.received(chunk),
          drain: (connection) => connection.state.pair.opposite(connection.state).drained(),
          end: (connection) => connection.state.ended(),
          close: (connection, error) => connection.state.closed(error !== undefined),
        },
      });
    } catch {
      // The dialler sees what it would see of a target that refuses: its connection ends.
      this.refused++;
      pair.abort();
    }
  }

  /** The pair is done; only for the pair. */
  gone(pair: Pair): void {
    this.#pairs.delete(pair);
  }
}

/** The two directions of one connection. */
class Pair {
  readonly forward: Pipe;
  readonly back: Pipe;
  readonly relay: TcpRelay;
  readonly source: string;
  #isOver = false;

  constructor(relay: TcpRelay, clock: Clock, source: string, prng: Prng) {
    this.relay = relay;
    this.source = source;
    this.forward = new Pipe(this, clock, "forward", prng.fork());
    this.back = new Pipe(this, clock, "back", prng.fork());
    this.changed();
  }

  opposite(pipe: Pipe): Pipe {
    return pipe === this.forward ? this.back : this.forward;
  }

  connected(connection: Connection<Pipe>): void {
    this.back.from = connection;
    if (this.#isOver) return connection.abort();
    this.forward.drained();
  }

  changed(): void {
    this.forward.conditions = this.relay.conditionsOf(this.source, "forward");
    this.back.conditions = this.relay.conditionsOf(this.source, "back");
    const roundTripMs = this.forward.conditions.delayMs + this.back.conditions.delayMs;
    for (const pipe of [this.forward, this.back]) {
      pipe.roundTripMs = roundTripMs;
      pipe.drained();
    }
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const pipe of [this.forward, this.back]) {
      pipe.drop();
      pipe.from?.abort();
    }
    this.relay.gone(this);
  }

  /** One side closed in order and all that it sent is delivered. */
  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const pipe of [this.forward, this.back]) {
      pipe.drop();
      pipe.from?.close();
    }
    this.relay.gone(this);
  }
}

interface Piece {
  /** Absent: the end of this direction, a half-close or a close. */
  readonly bytes: Uint8Array | undefined;
  readonly dueMs: number;
}

/** One direction: what comes from one side and goes to the other. */
class Pipe {
  readonly pair: Pair;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly direction: Direction;
  from: Connection<Pipe> | undefined = undefined;
  conditions: LinkConditions = clear;
  roundTripMs = 0;
  #queue: Piece[] = [];
  #head = 0;
  #queuedBytes = 0;
  /** Bytes of the first piece that were written already. */
  #written = 0;
  #lastDueMs = 0;
  /** When the link is done sending what it has, at a limited rate. */
  #freeMs = 0;
  #timer: Timer | undefined = undefined;
  #isPaused = false;
  /** The side that sends has closed; the pair ends when its last bytes are delivered. */
  #isClosed = false;

  constructor(pair: Pair, clock: Clock, direction: Direction, prng: Prng) {
    this.pair = pair;
    this.direction = direction;
    this.#clock = clock;
    this.#prng = prng;
  }

  received(chunk: Uint8Array): void {
    const { delayMs, jitterMs, loss, bytesPerSecond, cut } = this.conditions;
    const plain = delayMs === 0 && jitterMs === 0 && loss === 0 && bytesPerSecond === 0 && !cut;
    const to = this.pair.opposite(this).from;
    let taken = 0;
    if (plain && to !== undefined && this.#queue.length === this.#head) {
      taken = to.write(chunk);
      if (taken === chunk.length) return;
    }
    // The runtime reuses the chunk's memory.
    this.#push(chunk.slice(taken));
    this.drained();
  }

  ended(): void {
    this.#queue.push({ bytes: undefined, dueMs: this.#lastDueMs });
    this.drained();
  }

  closed(failed: boolean): void {
    if (failed) return this.pair.abort();
    this.#isClosed = true;
    this.drained();
  }

  #push(bytes: Uint8Array): void {
    const { delayMs, jitterMs, loss, bytesPerSecond } = this.conditions;
    const nowMs = this.#clock.monotonicMs();
    let sentMs = nowMs;
    if (bytesPerSecond > 0) {
      sentMs = Math.max(nowMs, this.#freeMs) + bytes.length / bytesPerSecond * 1000;
      this.#freeMs = sentMs;
    }
    const jitter = jitterMs === 0 ? 0 : (this.#prng.fraction() * 2 - 1) * jitterMs;
    const stallMs = loss === 0 ? 0 : this.#stallMs(Math.ceil(bytes.length / segmentBytes), loss);
    const dueMs = Math.max(this.#lastDueMs, sentMs + Math.max(0, delayMs + jitter) + stallMs);
    this.#lastDueMs = dueMs;
    this.#queue.push({ bytes, dueMs });
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > queueBytesMax && !this.#isPaused) {
      this.#isPaused = true;
      this.from?.pause();
    }
  }

  /** How much later the last of these segments comes because some were lost. */
  #stallMs(segments: number, loss: number): number {
    let stallMs = 0;
    for (let segment = 0; segment < segments; segment++) {
      if (!this.#prng.chance(loss)) continue;
      const timeoutMs = Math.max(retransmitMsMin, this.roundTripMs * 1.5);
      let waitMs = segments - segment > segmentsToNotice ? this.roundTripMs : timeoutMs;
      for (let again = 1; again <= retransmitsMax && this.#prng.chance(loss); again++) {
        waitMs += timeoutMs * 2 ** again;
      }
      stallMs = Math.max(stallMs, waitMs);
    }
    return stallMs;
  }

  /** There may be room, or the conditions changed: delivers what is due. */
  drained(): void {
    const to = this.pair.opposite(this).from;
    if (to === undefined || this.conditions.cut) return;
    const nowMs = this.#clock.monotonicMs();
    while (this.#head < this.#queue.length) {
      if (this.#isPaused && this.#queuedBytes < queueBytesMax / 2) this.#takeMore();
      const piece = this.#queue[this.#head];
      if (piece.dueMs > nowMs) {
        this.#timer?.cancel();
        this.#timer = this.#clock.timer(piece.dueMs - nowMs, due, this);
        return;
      }
      if (piece.bytes === undefined) {
        to.shutdown();
      } else {
        this.#written += to.write(piece.bytes, this.#written);
        if (this.#written < piece.bytes.length) return;
        this.#written = 0;
        this.#queuedBytes -= piece.bytes.length;
      }
      this.#head++;
      if (this.#head === piecesKept) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
    }
    this.#queue.length = 0;
    this.#head = 0;
    if (this.#isPaused) this.#takeMore();
    if (this.#isClosed) this.pair.finish();
  }

  #takeMore(): void {
    this.#isPaused = false;
    this.from?.resume();
  }

  /** Forgets what waits. */
  drop(): void {
    this.#timer?.cancel();
    this.#queue.length = 0;
    this.#head = 0;
  }
}

function due(pipe: Pipe): void {
  pipe.drained();
}
