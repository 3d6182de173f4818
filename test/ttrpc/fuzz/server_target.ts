/** The server machine under fuzz: frames of a client gone mad, and handlers with moods. */
import type { Prng } from "../../../src/base/prng.ts";
import { CallKind } from "../../../src/ttrpc/core/call.ts";
import { RequestReader, type Status } from "../../../src/ttrpc/core/envelope.ts";
import { BufferPool } from "../../../src/ttrpc/core/output.ts";
import {
  type ServerCall,
  ServerConnection,
  type ServerEvents,
  type ServerOptions,
} from "../../../src/ttrpc/core/server.ts";
import { Slab } from "../../../src/ttrpc/core/slab.ts";
import { routeTable } from "../support/machines.ts";
import { ClientFrames, fuzzLimits } from "./client_frames.ts";
import { must, type OutFrame, OutputReader, type Reached } from "./check.ts";
import { Feeder, mutate, randomBytes, randomLength } from "./mutate.ts";

type CallOf = ServerCall<string>;
export type MakeServer = (
  options: ServerOptions<string>,
  events: ServerEvents<string>,
) => ServerConnection<string>;

export const makeServer: MakeServer = (options, events) => new ServerConnection(options, events);

const table = routeTable();
const pool = new BufferPool(4096, 8);
const slab = new Slab();
const reader = new RequestReader();
interface Life {
  /** Told as failed, or ended by the handler. */
  ended: boolean;
  /** The handler gave its result; what is queued may still fail. */
  finished: boolean;
  reset: boolean;
  wantsMessage: boolean;
  wantsRoom: boolean;
  /** An answer that found no room. */
  kept: Uint8Array | undefined;
}

export class ServerFuzz implements ServerEvents<string> {
  readonly #again: CallOf[] = [];
  readonly machine: ServerConnection<string>;
  readonly #random: Prng;
  readonly #reached: Reached;
  readonly #feeder: Feeder = new Feeder();
  readonly #frames: ClientFrames;
  readonly #lives: Map<CallOf, Life> = new Map();
  readonly #open: CallOf[] = [];
  readonly #output: OutputReader;
  readonly #extensions: boolean;
  /** How often handlers do something: in some sessions hardly ever. */
  readonly #activity: number;
  /** How often the socket takes bytes. */
  readonly #thirst: number;
  #nowMs = 0;
  #broken = false;
  #receiving = false;
  /** Terminal frames that came out, and those that had to. */
  #terminals = 0;
  #owed = 0;
  readonly #ended: Set<number> = new Set();
  readonly #callIds: Set<number> = new Set();
  /** Where in the output the answers stand that belong to no call. */
  readonly #refusals: Set<number> = new Set();

  constructor(random: Prng, reached: Reached, make: MakeServer) {
    this.#random = random;
    this.#reached = reached;
    this.#activity = random.pick([0.5, 0.5, 0.02]);
    this.#thirst = random.pick([0.7, 0.7, 0.05]);
    this.#frames = new ClientFrames(random, this.#activity < 0.1 ? 0.995 : 0.9);
    this.#extensions = random.chance(0.7);
    this.#output = new OutputReader(fuzzLimits.messageBytesMax, (frame) => this.#written(frame));
    this.machine = make({
      limits: fuzzLimits,
      pool,
      slab,
      reader,
      routes: () => table,
      strictStreamIds: random.chance(0.2),
      extensions: this.#extensions,
    }, this);
  }

  /** One session: frames in, moods, and an orderly or a sudden end. */
  run(frames: number): void {
    const random = this.#random;
    for (let index = 0; index < frames && !this.#broken; index++) {
      const frame = this.#frames.next(this.#open);
      this.#feeder.push(random.chance(0.25) ? mutate(random, frame) : frame);
      this.#reached.frames++;
      this.#step();
    }
    if (!this.#broken && random.chance(0.2)) this.machine.drain();
    while (this.#feeder.length > 0 && !this.#broken) this.#step();
    if (!this.#broken && random.chance(0.5)) this.#finish();
    this.#collect();
    this.machine.close({ code: 14, message: "gone", details: [] });
    for (const life of this.#lives.values()) must(life.ended, "a call outlived its connection");
    must(this.machine.callCount === 0, "calls are left in the table");
    must(this.machine.output.queuedBytes === 0, "output is left in memory");
    must(this.machine.nextTickMs === Infinity, "a deadline is left");
    this.#reached.agreed += this.machine.extended ? 1 : 0;
  }

  // -- steps ----------------------------------------------------------------------------------

  #step(): void {
    const random = this.#random;
    this.#answerAgain();
    if (!this.machine.wantsPause || random.chance(0.05)) {
      if (this.#feeder.length > 0) {
        const chunk = this.#feeder.chunk(random);
        this.#receiving = true;
        this.machine.receive(chunk, this.#nowMs);
        this.#receiving = false;
        // Chunks are borrowed.
        chunk.fill(0xdb);
      }
    } else {
      this.#reached.stalled++;
      this.#nowMs += random.below(60);
      this.machine.tick(this.#nowMs);
    }
    if (!this.#broken && random.chance(this.#activity)) this.#act();
    if (!this.#broken && random.chance(this.#thirst)) {
      this.#read(random.pick([1, 11, 100, 5000, 100_000]));
    }
    if (!this.#broken && random.chance(0.15)) {
      this.#nowMs += random.pick([0, 1, 20, 20, 500]);
      this.machine.tick(this.#nowMs);
      must(this.machine.nextTickMs > this.#nowMs, "a tick left something that is due");
    }
    this.#checkMemory();
  }

  /** A handler does something. */
  #act(): void {
    const random = this.#random;
    if (this.#open.length === 0) return;
    const call = random.pick(this.#open);
    const life = this.#lives.get(call)!;
    if (call.over || life.finished) return;
    const roll = random.below(10);
    if ((call.kind & CallKind.clientStreaming) !== 0 && roll < 5) {
      if (roll === 0) this.machine.dropInbox(call);
      for (let left = random.below(12); left > 0; left--) {
        if (this.machine.take(call, this.#nowMs) === undefined) {
          call.flow!.wantsMessage = !call.flow!.ended;
          life.wantsMessage = call.flow!.wantsMessage;
          break;
        }
        this.#reached.messages++;
      }
      return;
    }
    const metadata = random.pick([[], [], ["k", "v"], ["k", "v".repeat(random.below(3000))]]);
    if ((call.kind & CallKind.serverStreaming) !== 0 && roll < 8) {
      if (life.wantsRoom) return;
      const length = Math.min(
        randomLength(random, fuzzLimits.messageBytesMax),
        fuzzLimits.messageBytesMax,
      );
      const room = this.machine.send(call, randomBytes(random, length));
      if (!room) life.wantsRoom = true;
      return;
    }
    if (random.chance(0.6)) return;
    life.finished = true;
    const isStream = (call.kind & CallKind.serverStreaming) !== 0;
    if (roll < 9 && isStream) this.machine.finishStream(call, metadata);
    else if (roll < 9) {
      this.#answer(call, life, randomBytes(random, randomLength(random, 2000)), metadata);
      return;
    } else {
      const message = "e".repeat(random.pick([0, 10, 2500]));
      this.machine.respondStatus(call, { code: random.below(20), message, details: [] }, metadata);
    }
    if (call.over) this.#end(call, life);
  }

  /** Gives a result, or keeps it until the machine has room for it. */
  #answer(call: CallOf, life: Life, payload: Uint8Array, metadata: readonly string[]): void {
    life.kept = undefined;
    if (this.machine.respond(call, payload, metadata) === undefined) {
      life.kept = payload;
      life.wantsRoom = true;
      this.#reached.kept++;
    } else if (call.over) this.#end(call, life);
  }

  /** Answers that were told of room are given again, as a driver does it: not within the event. */
  #answerAgain(): void {
    for (const call of this.#again.splice(0)) {
      const life = this.#lives.get(call)!;
      if (!call.over && life.kept !== undefined) this.#answer(call, life, life.kept, []);
    }
  }

  /** The socket takes bytes. */
  #read(most: number): void {
    const { output } = this.machine;
    const length = Math.min(most, output.queuedBytes);
    if (length > 0) {
      const bytes = output.bytes.slice(output.start, output.start + length);
      output.consume(length);
      this.#output.push(bytes);
    }
    this.machine.drained();
    this.#collect();
  }

  /** Everything that can still be said is said, and counted. */
  #finish(): void {
    for (const [call, life] of this.#lives) {
      if (call.over || life.finished || this.#broken) continue;
      life.finished = true;
      this.machine.respondStatus(call, { code: 1, message: "", details: [] }, []);
    }
    for (let round = 0; round < 500 && !this.#broken; round++) {
      this.#answerAgain();
      this.#read(100_000);
      this.#nowMs += 1000;
      this.machine.tick(this.#nowMs);
    }
    if (this.#broken) return;
    must(this.#output.rest === 0, "the output ends inside a frame");
    const waiting = [...this.#lives].filter(([call]) => !call.over);
    // A stream may wait for credit that this client never grants.
    must(this.machine.extended || waiting.length === 0, "an answer was never written");
    must(
      this.#terminals === this.#owed,
      () => `${this.#owed} answers were owed and ${this.#terminals} came`,
    );
  }

  #checkMemory(): void {
    const { messageBytesMax, queueBytesMax, streamQueueBytesMax, callsMax, streamsMax } =
      fuzzLimits;
    let inbox = 0;
    let outbox = 0;
    let streams = 0;
    for (const call of this.#open) {
      if (call.over || call.flow === undefined) continue;
      streams++;
      inbox += call.flow.inboxBytes;
      outbox += call.flow.outboxBytes;
      // One chunk beyond the limit, and what a credited peer may overdraw.
      must(
        call.flow.inboxBytes <= streamQueueBytesMax + 20_000 + messageBytesMax,
        "a stream's inbox has no end",
      );
    }
    must(inbox <= queueBytesMax + messageBytesMax, "the connection's inboxes have no end");
    must(outbox <= queueBytesMax + (streamsMax + 1) * messageBytesMax, "the outboxes have no end");
    must(
      this.machine.output.queuedBytes <= 2 * queueBytesMax + 2 * messageBytesMax,
      "the output has no end",
    );
    must(this.machine.callCount <= callsMax && streams <= streamsMax, "too many calls were taken");
  }

  /** Forgets calls that are over; the handler hears of those that ended behind its back. */
  #collect(): void {
    for (let index = this.#open.length - 1; index >= 0; index--) {
      const call = this.#open[index];
      if (!call.over) continue;
      const life = this.#lives.get(call)!;
      if (!life.ended) {
        must(life.finished, "a call ended and nobody was told");
        this.#end(call, life);
      }
      this.#open.splice(index, 1);
    }
  }

  #end(call: CallOf, life: Life): void {
    must(!life.ended, () => `call ${call.id} ended twice`);
    life.ended = true;
    if (!life.reset) this.#owed++;
  }

  #written(frame: OutFrame): void {
    const { id, type, flags } = frame;
    must(flags === 0 || (type === 3 && flags === 5), () => `flags ${flags} were written`);
    if (type === 3) {
      must(this.#callIds.has(id), "Data was written for a call that never was");
      must(!this.#ended.has(id), "Data was written after the end of its call");
    } else if (type !== 2) {
      must(this.machine.extended && this.#extensions, () => `type ${type} was not agreed to`);
      must([4, 5, 7, 8, 9].includes(type), () => `type ${type} was written by a server`);
    }
    if (type === 2 || flags === 5) {
      this.#terminals++;
      // An id may be refused before its call begins, and again while it is in use.
      if (!this.#refusals.delete(frame.position)) this.#ended.add(id);
    }
  }

  // -- events ---------------------------------------------------------------------------------

  call(call: CallOf): void {
    must(this.#receiving, "a call came out of nowhere");
    must(!this.#callIds.has(call.id), "an id was used twice");
    this.#callIds.add(call.id);
    this.#reached.calls++;
    this.#open.push(call);
    const life = {
      ended: false,
      finished: false,
      reset: false,
      wantsMessage: false,
      wantsRoom: false,
      kept: undefined,
    };
    this.#lives.set(call, life);
    if (this.#random.chance(0.3) && (call.kind & CallKind.serverStreaming) === 0) {
      life.finished = true;
      this.#answer(call, life, randomBytes(this.#random, this.#random.below(50)), []);
    }
  }

  refused(): void {
    this.#refusals.add(this.machine.output.position);
    this.#reached.refused++;
    this.#owed++;
  }

  readable(call: CallOf): void {
    const life = this.#lives.get(call)!;
    must(life.wantsMessage, "readable was told to nobody");
    life.wantsMessage = false;
  }

  writable(call: CallOf): void {
    const life = this.#lives.get(call)!;
    must(life.wantsRoom, "writable was told to nobody");
    life.wantsRoom = false;
    if (life.kept !== undefined) this.#again.push(call);
  }

  failed(call: CallOf, status: Status): void {
    const life = this.#lives.get(call)!;
    must(call.over, "a call failed and goes on");
    this.#reached.failed++;
    // The end of the connection, and a reset, are answered by nothing.
    life.reset = status.code === 14 || status.message === "the client canceled the call";
    if (status.code === 1) this.#reached.resets++;
    this.#end(call, life);
  }

  broken(): void {
    must(!this.#broken, "the connection broke twice");
    this.#broken = true;
    this.#reached.broken++;
  }

  limitHit(): void {
    this.#reached.limits++;
  }
}
