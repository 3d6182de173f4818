/**
 * The driver between one socket of the seam and one connection machine: moves bytes, arms one
 * timer for the machine's next deadline, pauses reading when the machine asks, and watches for a
 * peer that is gone. No promise, closure or timer per frame.
 *
 * Writing is corked. Frames that are made while one event runs, and by the promises that it
 * settles, leave in one write: the flush waits for a few microtask turns in which nothing was
 * added, which costs well under a microsecond and saves a system call per frame.
 */
import { Code } from "../base/error.ts";
import type { Clock, Connection, NetError, Timer } from "../runtime/port.ts";
import type { Call } from "./core/call.ts";
import { type Connection as Machine, outputPauseBytes } from "./core/connection.ts";
import type { Status } from "./core/envelope.ts";
import { unmeasuredMs } from "./core/overfull.ts";
import type { RpcCounters } from "./counters.ts";
import type { RpcLimits } from "./limits.ts";

/** Turns without a new frame before the corked output is written. */
const quietTurnsMax = 6;
/** A connection that was silent for this long gives back what it does not need. */
const restAfterMs = 1000;
/** The cork holds at most this much: with one more small frame it still fits a pooled buffer. */
const corkBytesMax = 48 << 10;
/**
 * The cork holds at most this many frames, so that the peer begins with the first ones while the
 * others are being made: two processes that hand each other one large batch never work at the same
 * time (docs/decisions/0006).
 */
const corkFramesMax = 32;
/** The same for answers that are made while a chunk of requests is being read. */
const eventFramesMax = 16;

export abstract class Link<C extends Call> {
  protected readonly clock: Clock;
  protected readonly limits: RpcLimits;
  readonly counters: RpcCounters;
  abstract readonly machine: Machine<C>;
  /** Undefined before the socket is open and after it closed. */
  protected socket: Connection<Link<C>> | undefined = undefined;
  /** An event of the socket runs: its end flushes. */
  protected inEvent = false;
  /** Pauses when the output is long: a server must, a client must not (both would wait). */
  protected readonly pausesOnOutput: boolean;
  #uncork: (() => void) | undefined = undefined;
  #corked = false;
  /** The socket took less than it was offered, and has not said yet that it has room again. */
  #blocked = false;
  #quietTurns = 0;
  /** About how many frames were made since the last write. */
  #frames = 0;
  #corkedEnd = 0;
  #paused = false;
  #held = false;
  #timer: Timer | undefined = undefined;
  #timerAtMs = Infinity;
  /** When the socket last took bytes, or had nothing to take. */
  #writtenMs = 0;
  #closing = false;

  constructor(clock: Clock, limits: RpcLimits, counters: RpcCounters, pausesOnOutput: boolean) {
    this.clock = clock;
    this.limits = limits;
    this.counters = counters;
    this.pausesOnOutput = pausesOnOutput;
  }

  /** Calls may still begin and end. */
  get isOpen(): boolean {
    return this.socket !== undefined && !this.#closing;
  }

  nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** The socket is open. */
  opened(socket: Connection<Link<C>>): void {
    this.socket = socket;
    this.#writtenMs = this.machine.heardMs = this.clock.monotonicMs();
    this.counters.connectionsOpen++;
    this.counters.connectionsTotal++;
  }

  received(chunk: Uint8Array): void {
    this.counters.receivedBytesTotal += chunk.length;
    this.inEvent = true;
    this.machine.receive(chunk, this.clock.monotonicMs());
    this.settle();
  }

  drained(): void {
    this.#blocked = false;
    this.inEvent = true;
    this.machine.drained();
    this.settle();
  }

  /** The peer half-closed. In ttrpc that is a full close: nobody waits for replies any more. */
  ended(): void {
    this.shut({
      code: Code.unavailable,
      message: this.machine.inFrame
        ? "the peer closed the connection in the middle of a frame"
        : "the peer closed the connection",
      details: [],
    });
  }

  /** The socket is gone. */
  closed(error: NetError | undefined): void {
    if (this.socket === undefined) return;
    this.socket = undefined;
    this.counters.connectionsOpen--;
    this.#timer?.cancel();
    this.#timer = undefined;
    const message = error === undefined
      ? "the connection was closed"
      : `the connection failed: ${error.message}`;
    this.#closeMachine({ code: Code.unavailable, message, details: [] });
    this.gone();
  }

  /** Closes the connection; calls in flight fail with the status. Bytes taken are delivered. */
  shut(status: Status): void {
    const socket = this.socket;
    if (socket === undefined) return;
    this.#closeMachine(status);
    socket.close();
  }

  /** Closes the connection at once because the peer cannot be talked to. */
  protected shatter(status: Status): void {
    const socket = this.socket;
    if (socket === undefined) return;
    this.counters.connectionsBrokenTotal++;
    this.#closeMachine(status);
    socket.abort();
  }

  /** The connection ended, for whatever reason; called once. */
  protected abstract gone(): void;

  /** Reading stops until released, for instance while the peer is being identified. */
  protected hold(held: boolean): void {
    this.#held = held;
    this.#adjustPause();
  }

  /** The next message of a stream, if there is one; may grant credit or end a pause. */
  take(call: C): Uint8Array | undefined {
    // Asking the clock is worth it only when somebody is about to judge how slow this reader is.
    const message = this.machine.take(
      call,
      call.flow!.overfull ? this.clock.monotonicMs() : unmeasuredMs,
    );
    if (message !== undefined) this.resumed();
    return message;
  }

  /** A reader took or dropped messages: there may be credit to send, or a pause to end. */
  resumed(): void {
    if (this.inEvent) return;
    if (this.machine.output.queuedBytes > 0) this.flushSoon();
    if (this.#paused) this.#adjustPause();
  }

  /** Frames were made outside of a socket event: write them soon, together. */
  flushSoon(): void {
    const frames = ++this.#frames;
    if (this.inEvent) {
      if (frames >= eventFramesMax) this.flush();
      return;
    }
    if (frames >= corkFramesMax || this.machine.output.queuedBytes >= corkBytesMax) {
      this.flush();
      this.armTimer();
      return;
    }
    if (this.#corked) return;
    this.#corked = true;
    this.#quietTurns = 0;
    this.#corkedEnd = 0;
    this.#uncork ??= () => this.#turn();
    queueMicrotask(this.#uncork);
  }

  /** Writes what the socket takes. */
  flush(): void {
    const socket = this.socket;
    if (socket === undefined) return;
    this.#frames = 0;
    const machine = this.machine;
    const output = machine.output;
    while (output.queuedBytes > 0 && !this.#blocked) {
      const offered = output.queuedBytes;
      const taken = socket.write(output.bytes, output.start, offered);
      if (taken > 0) {
        output.consume(taken);
        this.counters.sentBytesTotal += taken;
        this.#writtenMs = -1;
      }
      // Until the socket has drained, further writes would only cost system calls.
      if (taken < offered) this.#blocked = true;
      else machine.drained();
    }
    this.#adjustPause();
    this.flushed();
  }

  /** Written as far as the socket takes; a draining server looks whether this was the last. */
  protected flushed(): void {}

  /** After an event: write, look at the pause, arm the timer. */
  protected settle(): void {
    this.inEvent = false;
    if (this.socket === undefined) return;
    this.flush();
    this.armTimer();
  }

  /** Makes sure that the machine is woken at its next deadline. */
  protected armTimer(): void {
    const nextMs = this.machine.nextTickMs;
    if (nextMs >= this.#timerAtMs || this.socket === undefined) return;
    this.#timer?.cancel();
    this.#timerAtMs = nextMs;
    const delayMs = nextMs - this.clock.monotonicMs();
    this.#timer = this.clock.timer(delayMs > 0 ? delayMs : 0, tickLink, this as Link<Call>);
  }

  /** The timer fired. */
  tick(): void {
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
    if (this.socket === undefined) return;
    this.inEvent = true;
    this.machine.tick(this.clock.monotonicMs());
    this.settle();
  }

  /**
   * Called now and then by the owner: notices a peer that stopped in the middle of a frame, does
   * not read, or gives no sign of life.
   */
  sweep(nowMs: number): void {
    if (this.socket === undefined) return;
    const machine = this.machine;
    // Writing sets a mark instead of asking the clock each time.
    if (this.#writtenMs < 0 || machine.output.queuedBytes === 0) this.#writtenMs = nowMs;
    else if (nowMs - this.#writtenMs > this.limits.ioStallMs) {
      this.shatter(unavailable("the peer does not read what it is sent"));
      return;
    }
    if (this.#paused) return;
    const silentMs = nowMs - machine.heardMs;
    if (silentMs > restAfterMs) machine.rest();
    if (machine.inFrame && silentMs > this.limits.ioStallMs) {
      this.shatter(unavailable("the peer stopped in the middle of a frame"));
    } else if (machine.extended && this.limits.keepaliveIntervalMs > 0) {
      this.#keepAlive(nowMs, silentMs);
    }
  }

  #keepAlive(nowMs: number, silentMs: number): void {
    const machine = this.machine;
    if (silentMs < this.limits.keepaliveIntervalMs) {
      machine.pingSentMs = -Infinity;
    } else if (machine.pingSentMs === -Infinity) {
      machine.ping(nowMs);
      this.flush();
    } else if (nowMs - machine.pingSentMs > this.limits.keepaliveTimeoutMs) {
      this.shatter(unavailable("the peer gives no sign of life"));
    }
  }

  #turn(): void {
    const end = this.machine.output.position;
    if (end !== this.#corkedEnd) {
      this.#corkedEnd = end;
      this.#quietTurns = 0;
    } else this.#quietTurns++;
    if (this.#quietTurns < quietTurnsMax && this.machine.output.queuedBytes < corkBytesMax) {
      queueMicrotask(this.#uncork!);
      return;
    }
    this.#corked = false;
    this.flush();
    this.armTimer();
  }

  #adjustPause(): void {
    const socket = this.socket;
    if (socket === undefined) return;
    const wants = this.#held || this.machine.wantsPause ||
      (this.pausesOnOutput && this.machine.output.queuedBytes > outputPauseBytes);
    if (wants === this.#paused) return;
    this.#paused = wants;
    if (wants) socket.pause();
    else {
      // Silence while nobody listened says nothing about the peer.
      this.machine.heardMs = this.clock.monotonicMs();
      socket.resume();
    }
  }

  #closeMachine(status: Status): void {
    if (this.#closing) return;
    this.#closing = true;
    this.machine.close(status);
  }
}

function tickLink(link: Link<Call>): void {
  link.tick();
}

export function unavailable(message: string): Status {
  return { code: Code.unavailable, message, details: [] };
}

/** The seam's handler for every link, of servers and clients alike. */
export const linkHandler = {
  data(connection: Connection<Link<Call>>, chunk: Uint8Array): void {
    connection.state.received(chunk);
  },
  drain(connection: Connection<Link<Call>>): void {
    connection.state.drained();
  },
  end(connection: Connection<Link<Call>>): void {
    connection.state.ended();
  },
  close(connection: Connection<Link<Call>>, error?: NetError): void {
    connection.state.closed(error);
  },
  open(connection: Connection<Link<Call>>): void {
    connection.state.opened(connection);
  },
} as const;
