/**
 * What crosses the seam, in order: time, machine, kind, ids, sizes and the bytes themselves. Its
 * running hash is the same for the same seed on both engines, and different as soon as a node
 * does anything else. The last records are kept as text for people.
 */
import { Xxh64 } from "../../base/xxh64.ts";
import { msFromTicks } from "./time.ts";

export const TraceKind = {
  timerSet: 1,
  timerFired: 2,
  timerCancelled: 3,
  random: 4,
  listen: 5,
  dial: 6,
  dialFailed: 7,
  open: 8,
  write: 9,
  data: 10,
  drain: 11,
  end: 12,
  close: 13,
  shutdown: 14,
  closeCall: 15,
  abort: 16,
  pauseReading: 17,
  resumeReading: 18,
  verifyPeer: 19,
  stopListening: 20,
  udpBind: 21,
  udpSend: 22,
  udpMessage: 23,
  udpClose: 24,
  diskCall: 25,
  diskDone: 26,
  diskFailed: 27,
  diskBytes: 28,
  signal: 29,
  stdout: 30,
  stderr: 31,
  spawn: 32,
  exit: 33,
  boot: 34,
  stdin: 35,
  http: 36,
  fault: 37,
  lookup: 38,
} as const;

export type TraceKind = (typeof TraceKind)[keyof typeof TraceKind];

const names: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(TraceKind).map(([name, kind]) => [kind, name]),
);

const bufferBytes = 16 * 1024;
const headWords = 6;
const tailRecordsMax = 256;
const nothing: Uint8Array = new Uint8Array(0);

export class Trace {
  /** Records so far. */
  records = 0;
  readonly #hash: Xxh64;
  readonly #buffer = new Uint8Array(bufferBytes);
  readonly #words = new Int32Array(this.#buffer.buffer);
  #used = 0;
  /** A ring of (time, machine, kind, id, detail, bytes). */
  readonly #tail = new Float64Array(tailRecordsMax * headWords);
  readonly #now: () => number;
  readonly #log: ((line: string) => void) | undefined;

  /** `log` gets every record as a line, for looking into one seed. */
  constructor(seed: number, now: () => number, log: ((line: string) => void) | undefined) {
    this.#hash = new Xxh64(seed);
    this.#now = now;
    this.#log = log;
  }

  /** `id` names the connection, timer or file, `detail` is what the kind says it is. */
  record(kind: TraceKind, machine: number, id: number, detail = 0, bytes = nothing): void {
    const now = this.#now();
    const at = (this.records++ % tailRecordsMax) * headWords;
    const tail = this.#tail;
    tail[at] = now;
    tail[at + 1] = machine;
    tail[at + 2] = kind;
    tail[at + 3] = id;
    tail[at + 4] = detail;
    tail[at + 5] = bytes.length;
    if (this.#used + headWords * 4 > bufferBytes) this.#flush();
    const words = this.#words;
    const word = this.#used >> 2;
    words[word] = now;
    words[word + 1] = Math.floor(now / 0x100000000);
    words[word + 2] = machine << 16 | kind;
    words[word + 3] = id;
    words[word + 4] = detail;
    words[word + 5] = bytes.length;
    this.#used += headWords * 4;
    if (bytes.length > 0) this.#append(bytes);
    this.#log?.(this.#line(at));
  }

  /** The hash of everything so far. */
  digestHex(): string {
    this.#flush();
    return this.#hash.digestHex();
  }

  /** The last records, oldest first. */
  tail(): string[] {
    const lines: string[] = [];
    for (let index = Math.max(0, this.records - tailRecordsMax); index < this.records; index++) {
      lines.push(this.#line((index % tailRecordsMax) * headWords));
    }
    return lines;
  }

  #line(at: number): string {
    const [now, machine, kind, id, detail, bytes] = this.#tail.subarray(at, at + headWords);
    const size = bytes > 0 ? ` ${bytes} B` : "";
    return `${msFromTicks(now).toFixed(3)} ms machine ${machine} ${names[kind]} ` +
      `#${id} ${detail}${size}`;
  }

  /** Bytes go in padded to whole words, so that the heads stay aligned. */
  #append(bytes: Uint8Array): void {
    const padded = (bytes.length + 3) & ~3;
    if (padded > bufferBytes - this.#used) this.#flush();
    if (padded > bufferBytes) {
      this.#hash.update(bytes);
      return;
    }
    const buffer = this.#buffer;
    buffer.set(bytes, this.#used);
    buffer.fill(0, this.#used + bytes.length, this.#used + padded);
    this.#used += padded;
  }

  #flush(): void {
    if (this.#used === 0) return;
    this.#hash.update(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }
}
