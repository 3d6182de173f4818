/** The client machine under fuzz: callers with moods, and frames of a server gone mad. */
import { concatBytes } from "../../../src/base/bytes.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { CallKind } from "../../../src/ttrpc/core/call.ts";
import {
  ClientCall,
  ClientConnection,
  type ClientEvents,
  type ClientOptions,
} from "../../../src/ttrpc/core/client.ts";
import {
  encodeExtensions,
  encodeStatus,
  requestMetadata,
  requestPrefix,
  ResponseReader,
} from "../../../src/ttrpc/core/envelope.ts";
import { BufferPool } from "../../../src/ttrpc/core/output.ts";
import { Slab } from "../../../src/ttrpc/core/slab.ts";
import { fuzzLimits } from "./client_frames.ts";
import { must, type OutFrame, OutputReader, type Reached } from "./check.ts";
import { Feeder, makeFrame, mutate, randomBytes, randomLength } from "./mutate.ts";

export type MakeClient = (options: ClientOptions, events: ClientEvents) => ClientConnection;

export const makeClient: MakeClient = (options, events) => new ClientConnection(options, events);

const pool = new BufferPool(4096, 8);
const slab = new Slab();
const reader = new ResponseReader();
const none = new Uint8Array(0);
const kinds: readonly (readonly [CallKind, Uint8Array])[] = [
  [CallKind.unary, requestPrefix("s", "u")],
  [CallKind.clientStreaming, requestPrefix("s", "c")],
  [CallKind.serverStreaming, requestPrefix("s", "d")],
  [CallKind.bidi, requestPrefix("s", "b")],
];
const agreement = encodeExtensions({ version: 1, windowBytes: 4096, metadata: [] });
const refusal = encodeStatus({ code: 12, message: "no such service", details: [] });

interface Life {
  ended: boolean;
  /** It ended before a byte of it was written: it must never be. */
  unsent: boolean;
  wantsMessage: boolean;
  wantsRoom: boolean;
}

export class ClientFuzz implements ClientEvents {
  readonly machine: ClientConnection;
  readonly #random: Prng;
  readonly #reached: Reached;
  readonly #feeder: Feeder = new Feeder();
  readonly #lives: Map<ClientCall, Life> = new Map();
  readonly #byId: Map<number, ClientCall> = new Map();
  #open: ClientCall[] = [];
  readonly #output: OutputReader;
  /** How often callers do something: in some sessions hardly ever. */
  readonly #activity: number;
  /** How often the socket takes bytes. */
  readonly #thirst: number;
  #nowMs = 0;
  #broken = false;
  #ready = true;
  #lastId = -1;
  /** Ids whose side was closed, or given up, on the wire. */
  readonly #closed: Set<number> = new Set();

  constructor(random: Prng, reached: Reached, make: MakeClient) {
    this.#random = random;
    this.#reached = reached;
    this.#activity = random.pick([0.5, 0.5, 0.02]);
    this.#thirst = random.pick([0.7, 0.7, 0.05]);
    this.#output = new OutputReader(fuzzLimits.messageBytesMax, (frame) => this.#written(frame));
    this.machine = make({ limits: fuzzLimits, pool, slab, reader }, this);
  }

  run(frames: number): void {
    const random = this.#random;
    if (random.chance(0.6)) {
      this.#ready = false;
      this.machine.hello();
      this.#feeder.push(makeFrame(1, 2, 0, this.#welcome()));
    }
    for (let index = 0; index < frames && !this.#broken; index++) {
      const frame = this.#frame();
      this.#feeder.push(random.chance(0.25) ? mutate(random, frame) : frame);
      this.#reached.frames++;
      this.#step();
    }
    while (this.#feeder.length > 0 && !this.#broken) this.#step();
    this.machine.close({ code: 14, message: "gone", details: [] });
    for (const life of this.#lives.values()) must(life.ended, "a call outlived its connection");
    must(this.machine.callCount === 0, "calls are left in the table");
    must(this.machine.output.queuedBytes === 0, "output is left in memory");
    must(this.machine.nextTickMs === Infinity, "a deadline is left");
    this.#reached.agreed += this.machine.extended ? 1 : 0;
  }

  // -- input ----------------------------------------------------------------------------------

  #welcome(): Uint8Array {
    return this.#random.pick([
      agreement,
      concatBytes([refusal, agreement]),
      refusal,
      none,
      randomBytes(this.#random, 10),
    ]);
  }

  #frame(): Uint8Array {
    const random = this.#random;
    // Mostly to one stream, so that queues fill up.
    const stream = this.#open.find((one) => (one.kind & CallKind.serverStreaming) !== 0);
    const call = stream !== undefined && random.chance(0.6)
      ? stream
      : this.#open.length > 0
      ? random.pick(this.#open)
      : undefined;
    const id = call !== undefined && random.chance(0.9) ? call.id : random.below(this.#lastId + 20);
    const roll = random.below(20);
    const streams = call !== undefined && (call.kind & CallKind.serverStreaming) !== 0;
    if (roll < (streams ? 2 : 12)) return makeFrame(id, 2, 0, this.#response());
    if (roll < 15) {
      const flags = random.chance(this.#activity < 0.1 ? 0.995 : 0.9) ? 0 : random.pick([5, 1, 4]);
      const length = (flags & 4) !== 0 ? 0 : randomLength(random, fuzzLimits.messageBytesMax);
      return makeFrame(id, 3, flags, randomBytes(random, length));
    }
    const type = random.pick([4, 5, 6, 7, 7, 7, 7, 8, 9]);
    // A server that said goodbye takes no calls, and most sessions need some.
    if (type === 8 && random.chance(0.9)) return makeFrame(1, 4, 0, none);
    const data = type === 7
      ? new Uint8Array([0, 0, random.below(64), random.below(256)])
      : type === 9
      ? randomBytes(random, random.below(20))
      : none;
    return makeFrame(id, type, 0, data);
  }

  #response(): Uint8Array {
    const random = this.#random;
    switch (random.below(6)) {
      case 0:
        return encodeStatus({ code: random.below(20), message: "no", details: [] });
      case 1:
        return randomBytes(random, random.below(20));
      case 2:
        return none;
      case 3: {
        const metadata = ["k", "v"];
        return encodeExtensions({ version: random.below(3), windowBytes: random.next(), metadata });
      }
      default: {
        const payload = randomBytes(random, randomLength(random, 100));
        return concatBytes([new Uint8Array([0x12, payload.length & 0x7f]), payload]);
      }
    }
  }

  // -- steps ----------------------------------------------------------------------------------

  #step(): void {
    const random = this.#random;
    if (!this.#broken && this.#ready && random.chance(0.6)) this.#begin();
    if (!this.machine.wantsPause || random.chance(0.05)) {
      if (this.#feeder.length > 0) {
        const chunk = this.#feeder.chunk(random);
        this.machine.receive(chunk, this.#nowMs);
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
    if (!this.#broken && random.chance(0.2)) {
      this.#nowMs += random.pick([0, 1, 20, 500]);
      this.machine.tick(this.#nowMs);
      must(this.machine.nextTickMs > this.#nowMs, "a tick left something that is due");
    }
    if (!this.#broken && this.machine.extended && random.chance(0.05)) {
      this.machine.ping(this.#nowMs);
    }
    this.#checkMemory();
    this.#open = this.#open.filter((call) => !call.over);
  }

  #begin(): void {
    const random = this.#random;
    if (this.machine.spent) return;
    const [kind, prefix] = random.pick(kinds);
    const call = new ClientCall(kind);
    const life = { ended: false, unsent: false, wantsMessage: false, wantsRoom: false };
    if (random.chance(0.3)) call.deadlineMs = this.#nowMs + random.pick([1, 50, 1e6]);
    const payload = (kind & CallKind.clientStreaming) === 0
      ? randomBytes(random, randomLength(random, fuzzLimits.messageBytesMax))
      : none;
    const metadata = random.chance(0.1)
      ? requestMetadata(["k", "v".repeat(random.below(2500))])
      : none;
    this.#lives.set(call, life);
    const refused = this.machine.start(call, prefix, payload, 1, 0, metadata);
    if (refused !== undefined) {
      this.#reached.refused++;
      must(this.#broken || refused.code === 8, "a refusal has a code of its own");
      life.ended = true;
      life.unsent = true;
      return;
    }
    this.#reached.calls++;
    this.#open.push(call);
  }

  /** A caller does something. */
  #act(): void {
    const random = this.#random;
    if (this.#open.length === 0) return;
    const call = random.pick(this.#open);
    const life = this.#lives.get(call)!;
    if (call.over) return;
    const roll = random.below(10);
    if (roll === 0) {
      this.machine.cancel(call, { code: 1, message: "canceled", details: [] });
      must(life.ended, "a cancelled call goes on");
    } else if (roll < 5 && (call.kind & CallKind.serverStreaming) !== 0) {
      for (let left = random.below(12); left > 0; left--) {
        if (this.machine.take(call, this.#nowMs) === undefined) {
          call.flow!.wantsMessage = !call.flow!.ended;
          life.wantsMessage = call.flow!.wantsMessage;
          break;
        }
        this.#reached.messages++;
      }
    } else if ((call.kind & CallKind.clientStreaming) !== 0 && !call.localClosed) {
      if (roll === 9) this.machine.closeSend(call);
      else if (!life.wantsRoom) {
        const length = Math.min(randomLength(random, 2000), fuzzLimits.messageBytesMax);
        if (!this.machine.send(call, randomBytes(random, length))) life.wantsRoom = true;
      }
    }
  }

  #read(most: number): void {
    const { output } = this.machine;
    const length = Math.min(most, output.queuedBytes);
    if (length > 0) {
      const bytes = output.bytes.slice(output.start, output.start + length);
      output.consume(length);
      this.#output.push(bytes);
    }
    this.machine.drained();
  }

  #checkMemory(): void {
    const { messageBytesMax, queueBytesMax, streamQueueBytesMax, callsMax, streamsMax } =
      fuzzLimits;
    let inbox = 0;
    let outbox = 0;
    let streams = 0;
    for (const call of this.#open) {
      if (call.over || call.flow === undefined) continue;
      if (call.kind !== CallKind.unary) streams++;
      inbox += call.flow.inboxBytes;
      outbox += call.flow.outboxBytes;
      must(
        call.flow.inboxBytes <= streamQueueBytesMax + 20_000 + messageBytesMax,
        "a stream's inbox has no end",
      );
    }
    must(inbox <= queueBytesMax + messageBytesMax, "the connection's inboxes have no end");
    must(outbox <= queueBytesMax + messageBytesMax, "the outboxes have no end");
    must(
      this.machine.output.queuedBytes <= 2 * queueBytesMax + 2 * messageBytesMax,
      "the output has no end",
    );
    must(this.machine.callCount <= callsMax && streams <= streamsMax, "too many calls were begun");
  }

  #written(frame: OutFrame): void {
    const { id, type, flags } = frame;
    if (type === 1) {
      must(id === this.#lastId + 2 || (this.#lastId < 0 && id === 1), () => `id ${id} has a gap`);
      this.#lastId = id;
      const isHello = id === 1 && !this.#byId.has(1) && frame.length > 40;
      const call = [...this.#lives.keys()].find((one) => one.id === id);
      must(isHello || call !== undefined, "a request came out of nowhere");
      if (call === undefined) return;
      must(!this.#lives.get(call)!.unsent, "what was given up as unsent was sent");
      this.#byId.set(id, call);
      const expected = (call.kind & CallKind.clientStreaming) !== 0
        ? 6
        : call.kind === CallKind.serverStreaming
        ? 1
        : 0;
      must(flags === expected, () => `a request has flags ${flags}`);
      return;
    }
    if (type === 3) {
      const call = this.#byId.get(id);
      must(call !== undefined, "Data was written before its request");
      must(
        (call.kind & CallKind.clientStreaming) !== 0,
        "Data was written on a call that has none",
      );
      must(!this.#closed.has(id), "Data was written after the close");
      must(flags === 0 || (flags === 5 && frame.length === 0), () => `Data has flags ${flags}`);
      if (flags === 5) this.#closed.add(id);
      return;
    }
    must(this.machine.extended, () => `type ${type} was not agreed to`);
    must([4, 5, 6, 7].includes(type) && flags === 0, () => `type ${type} was written by a client`);
    if (type === 6) {
      must(this.#byId.has(id), "a reset was written before its request");
      this.#closed.add(id);
    }
  }

  #end(call: ClientCall): void {
    const life = this.#lives.get(call);
    must(life !== undefined && !life.ended, () => `call ${call.id} ended twice`);
    must(call.over, "a call ended and goes on");
    life.ended = true;
  }

  // -- events ---------------------------------------------------------------------------------

  result(call: ClientCall): void {
    must((call.kind & CallKind.serverStreaming) === 0, "a stream has no single result");
    this.#end(call);
  }

  streamEnded(call: ClientCall): void {
    must((call.kind & CallKind.serverStreaming) !== 0, "a single result is no stream");
    this.#end(call);
  }

  status(call: ClientCall): void {
    this.#end(call);
  }

  failed(call: ClientCall): void {
    this.#reached.failed++;
    this.#end(call);
    this.#lives.get(call)!.unsent = !this.machine.wasSent(call);
  }

  readable(call: ClientCall): void {
    const life = this.#lives.get(call)!;
    must(life.wantsMessage, "readable was told to nobody");
    life.wantsMessage = false;
  }

  writable(call: ClientCall): void {
    const life = this.#lives.get(call)!;
    must(life.wantsRoom, "writable was told to nobody");
    life.wantsRoom = false;
  }

  ready(): void {
    must(!this.#ready, "ready was told twice");
    this.#ready = true;
  }

  goaway(): void {
    must(this.machine.spent, "a goodbye leaves the connection in use");
    this.#reached.resets++;
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
