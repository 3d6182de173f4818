/** Compiles slow_sync.c, and is the other side of its control file. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const controlBytes = 64;
const syncsAt = 16;

/** What is done to the syncs of one process. */
export interface SyncConditions {
  /** Added to each. */
  readonly delayMs: number;
  /** In the first part of each period no sync ends. */
  readonly stallMs: number;
  readonly everyMs: number;
  readonly offsetMs: number;
}

/** Runs programs whose syncs it counts and delays, where that is possible. */
export class SlowSync {
  readonly #folder: string;
  readonly #program: string;
  #controls = 0;

  private constructor(folder: string, program: string) {
    this.#folder = folder;
    this.#program = program;
  }

  /** The reason why there is none, as text: no compiler, or a kernel without seccomp's listeners. */
  static build(): SlowSync | string {
    const folder = mkdtempSync(join(tmpdir(), "covey-slow-sync-"));
    const program = join(folder, "slow_sync");
    const source = fileURLToPath(new URL("./slow_sync.c", import.meta.url).href);
    const slow = new SlowSync(folder, program);
    const built = spawnSync("cc", ["-O2", "-o", program, source], { encoding: "utf8" });
    if (built.status !== 0) {
      slow.close();
      return built.error === undefined ? `cc: ${built.stderr}` : "there is no C compiler";
    }
    const tried = slow.control();
    const ran = spawnSync(program, [tried.file, "true"], { encoding: "utf8" });
    tried.close();
    if (ran.status === 0) return slow;
    slow.close();
    return `the kernel does not let syncs be watched: ${ran.stderr.trim()}`;
  }

  /** For one process; it may be started any number of times below it. */
  control(): SyncControl {
    return new SyncControl(join(this.#folder, `control-${this.#controls++}`), this.#program);
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export class SyncControl {
  readonly file: string;
  readonly #program: string;
  readonly #descriptor: number;

  constructor(file: string, program: string) {
    this.file = file;
    this.#program = program;
    this.#descriptor = openSync(file, "w+");
    writeSync(this.#descriptor, new Uint8Array(controlBytes), 0, controlBytes, 0);
  }

  wrap(command: readonly string[]): string[] {
    return [this.#program, this.file, ...command];
  }

  /** Takes effect with the next sync; what is not named is off. */
  set(conditions: Partial<SyncConditions>): void {
    const { delayMs = 0, stallMs = 0, everyMs = 0, offsetMs = 0 } = conditions;
    const words = new Uint32Array([delayMs, stallMs, everyMs, offsetMs]);
    writeSync(this.#descriptor, new Uint8Array(words.buffer), 0, syncsAt, 0);
  }

  /** Calls of fsync and fdatasync so far, and writes that are durable when they end. */
  get syncs(): number {
    const count = new BigUint64Array(1);
    readSync(this.#descriptor, new Uint8Array(count.buffer), 0, 8, syncsAt);
    return Number(count[0]);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
