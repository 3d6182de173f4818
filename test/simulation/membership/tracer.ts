/** The running hash of what happens between the machines of a run, and its lines for people. */
import { Xxh64 } from "../../../src/base/xxh64.ts";

const wordsMax = 4_096;

export class Tracer {
  readonly #hash: Xxh64;
  readonly #words = new Int32Array(wordsMax);
  readonly #log: ((line: string) => void) | undefined;
  #used = 0;

  constructor(seed: number, log: ((line: string) => void) | undefined) {
    this.#hash = new Xxh64(seed);
    this.#log = log;
  }

  /** `line` is only made where somebody reads it. */
  record(nowMs: number, what: number, detail: number, line: () => string): void {
    if (this.#used + 3 > wordsMax) this.#flush();
    this.#words[this.#used++] = Math.round(nowMs * 1_000);
    this.#words[this.#used++] = what;
    this.#words[this.#used++] = detail;
    this.#log?.(`${nowMs.toFixed(3)} ms ${line()}`);
  }

  digest(): string {
    this.#flush();
    return this.#hash.digestHex();
  }

  #flush(): void {
    this.#hash.update(new Uint8Array(this.#words.buffer, 0, this.#used * 4));
    this.#used = 0;
  }
}
