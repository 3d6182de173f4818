/**
 * What is looked up on the simulator: a table of the whole world, and the machines' own names. A
 * look-up is no datagram: it takes a moment, and it can be made to fail or never to end.
 */
import { isHostName, lookupsMax, type NameKind, type NameRecords } from "../../base/name_lookup.ts";
import { NetError, type ResolveOptions } from "../port.ts";
import type { SimProcess } from "./process.ts";
import { ticksFromMs } from "./time.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** How long an answer takes. */
const answerMs = 1;
const kindNumbers: Readonly<Record<NameKind, number>> = { A: 1, AAAA: 28, SRV: 33 };

/** The names of one world, for tests to change at any time. */
export class NameTable {
  readonly #records = new Map<string, Partial<NameRecords>>();
  /** `fails`: every look-up is answered with a failure; `silent`: none is answered. */
  mode: "answers" | "fails" | "silent" = "answers";

  /** Replaces what is known under a name; without records nobody has it any more. */
  set(name: string, records: Partial<NameRecords> | undefined): void {
    if (records === undefined) this.#records.delete(name.toLowerCase());
    else this.#records.set(name.toLowerCase(), records);
  }

  /** Undefined when nobody has the name. */
  get(name: string): Partial<NameRecords> | undefined {
    return this.#records.get(name.toLowerCase().replace(/\.$/, ""));
  }
}

/** One look-up; settles once. */
class Lookup {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #options: ResolveOptions<NameKind>;
  readonly #done: () => void;
  readonly #resolve: (records: NameRecords[NameKind]) => void;
  readonly #reject: (error: NetError) => void;
  readonly #limit;
  #settled = false;

  constructor(parts: {
    world: World;
    process: SimProcess;
    options: ResolveOptions<NameKind>;
    done: () => void;
    resolve: (records: NameRecords[NameKind]) => void;
    reject: (error: NetError) => void;
  }) {
    this.#world = parts.world;
    this.#process = parts.process;
    this.#options = parts.options;
    this.#done = parts.done;
    this.#resolve = parts.resolve;
    this.#reject = parts.reject;
    const { kernel } = parts.world;
    const { timeoutMs, signal } = parts.options;
    const process = parts.process;
    this.#limit = kernel.at(kernel.now + ticksFromMs(timeoutMs), runExpire, this, process);
    signal?.addEventListener("abort", this);
    if (parts.world.network.names.mode !== "silent") {
      kernel.at(kernel.now + ticksFromMs(answerMs), runAnswer, this, process);
    }
  }

  /** The abort signal's listener is the look-up itself. */
  handleEvent(): void {
    this.#fail("aborted", "aborted", this.#options.signal?.reason);
  }

  expire(): boolean {
    return this.#fail("timeout", `no answer in ${this.#options.timeoutMs} ms`);
  }

  answer(): boolean {
    const { names, machines } = this.#world.network;
    if (names.mode === "silent") return false;
    if (names.mode === "fails") return this.#fail("other", "the name server failed");
    const { name, kind } = this.#options;
    const own = name.toLowerCase().replace(/\.$/, "");
    const machine = machines.find((one) => one.name === own || one.hostname === own);
    const known = names.get(name) ??
      (own === "localhost" ? { A: ["127.0.0.1"], AAAA: ["::1"] } : undefined) ??
      (machine === undefined
        ? {}
        : machine.ip.includes(":")
        ? { AAAA: [machine.ip] }
        : { A: [machine.ip] });
    const records = known[kind] ?? [];
    if (records.length === 0) return this.#fail("not-found", "no such records");
    return this.#settle() && (this.#resolve(records), true);
  }

  #fail(kind: NetError["kind"], why: string, cause?: unknown): boolean {
    if (!this.#settle()) return false;
    this.#reject(
      new NetError(kind, `look up ${this.#options.kind} of ${this.#options.name}: ${why}`, cause),
    );
    return true;
  }

  #settle(): boolean {
    if (this.#settled || this.#process.dead) return false;
    this.#settled = true;
    this.#world.kernel.cancel(this.#limit);
    this.#options.signal?.removeEventListener("abort", this);
    this.#done();
    return true;
  }
}

/** The look-ups of one process. */
export class SimLookups {
  readonly #world: World;
  readonly #process: SimProcess;
  #inFlight = 0;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
  }

  resolve<K extends NameKind>(options: ResolveOptions<K>): Promise<NameRecords[K]> {
    const { name, kind, signal } = options;
    const refuse = (why: NetError["kind"], sentence: string): Promise<never> =>
      Promise.reject(new NetError(why, `look up ${kind} of ${name}: ${sentence}`, signal?.reason));
    if (!isHostName(name)) return refuse("invalid", "this is no host name");
    if (signal?.aborted === true) return refuse("aborted", "aborted");
    if (this.#inFlight >= lookupsMax) return refuse("limit", `${lookupsMax} are in flight already`);
    this.#inFlight++;
    const { index } = this.#process.machine;
    this.#world.trace.record(TraceKind.lookup, index, kindNumbers[kind], name.length);
    return new Promise((resolve, reject) => {
      const done = (): void => void this.#inFlight--;
      new Lookup({
        world: this.#world,
        process: this.#process,
        options,
        done,
        resolve: (records) => resolve(records as NameRecords[K]),
        reject,
      });
    });
  }
}

function runExpire(lookup: Lookup): boolean {
  return lookup.expire();
}

function runAnswer(lookup: Lookup): boolean {
  return lookup.answer();
}
