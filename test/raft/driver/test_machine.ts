/**
 * A machine that remembers every command with its index, so that two replicas can be compared entry
 * by entry. What a command begins with says what the machine makes of it.
 */
import { decodeText, encodeText } from "../../../src/base/bytes.ts";
import type {
  Machine,
  MachineEntry,
  SnapshotSink,
  SnapshotSource,
} from "../../../src/base/machine.ts";

/** Takes that many slices, as a large entry does: `large:3:id`. */
const large = /^large:(\d+):/;
/** This build cannot apply it. */
const fatal = /^fatal:/;

export interface Applied {
  readonly index: number;
  readonly id: string;
}

export interface TestResult {
  readonly index: number;
  readonly id: string;
  /** How many commands there are with this one. */
  readonly count: number;
  readonly fatal: boolean;
}

export interface TestMachineOptions {
  /** Bytes of zeros behind the state in each snapshot. */
  readonly padBytes?: number;
  /** Snapshots of a higher one are refused. */
  readonly version?: number;
  /** Told of every command and of every restored state. */
  readonly told?: (applied: Applied) => void;
  /** What a machine of an older build cannot apply. */
  readonly unknown?: RegExp;
}

/** The command's text; zeros behind it only make it long. */
export function commandBytes(id: string, bytes = 0): Uint8Array {
  const text = encodeText(id);
  const out = new Uint8Array(Math.max(text.length, bytes));
  out.set(text);
  return out;
}

export class TestMachine implements Machine<TestResult> {
  readonly options: TestMachineOptions;
  /** Ascending by index. */
  commands: Applied[] = [];
  appliedIndex = 0;
  snapshotsOpen = 0;
  restores = 0;
  readonly supports?: (data: Uint8Array) => boolean;
  #unfinished: { readonly entry: MachineEntry; readonly id: string; left: number } | undefined;

  constructor(options: TestMachineOptions = {}) {
    this.options = options;
    const { unknown } = options;
    if (unknown !== undefined) {
      this.supports = (data) => !unknown.test(decodeText(data.subarray(0, 64)) ?? "");
    }
  }

  get ids(): string[] {
    return this.commands.map(({ id }) => id);
  }

  apply(entry: MachineEntry): TestResult | undefined {
    if (this.#unfinished !== undefined) throw new Error("the entry before is not finished");
    if (entry.index <= this.appliedIndex) throw new Error(`entry ${entry.index} comes again`);
    const zero = entry.data.indexOf(0);
    const text = decodeText(zero < 0 ? entry.data : entry.data.subarray(0, zero));
    const id = text ?? `bytes at ${entry.index}`;
    const slices = Number(large.exec(id)?.[1] ?? 0);
    if (slices > 0) {
      this.#unfinished = { entry, id, left: slices };
      return undefined;
    }
    return this.#finish(entry, id);
  }

  resume(): TestResult | undefined {
    const unfinished = this.#unfinished;
    if (unfinished === undefined) throw new Error("no entry is unfinished");
    if (--unfinished.left > 0) return undefined;
    this.#unfinished = undefined;
    return this.#finish(unfinished.entry, unfinished.id);
  }

  #finish({ index }: MachineEntry, id: string): TestResult {
    if (fatal.test(id)) return { index, id, count: this.commands.length, fatal: true };
    this.appliedIndex = index;
    if (id !== "") {
      const applied = { index, id };
      this.commands.push(applied);
      this.options.told?.(applied);
    }
    return { index, id, count: this.commands.length, fatal: false };
  }

  isFatal(result: TestResult): boolean {
    return result.fatal;
  }

  encodeResult(result: TestResult): Uint8Array {
    return encodeText(JSON.stringify(result));
  }

  decodeResult(bytes: Uint8Array): TestResult | undefined {
    return JSON.parse(decodeText(bytes) ?? "null") ?? undefined;
  }

  snapshot(): SnapshotSource {
    if (this.#unfinished !== undefined) throw new Error("a snapshot within an entry");
    if (this.snapshotsOpen > 0) throw new Error("two snapshots at a time");
    this.snapshotsOpen++;
    const { version = 1, padBytes = 0 } = this.options;
    const state = encodeText(
      JSON.stringify({ version, index: this.appliedIndex, commands: this.commands }),
    );
    const bytes = new Uint8Array(state.length + 1 + padBytes);
    bytes.set(state);
    let at = 0;
    let open = true;
    return {
      next: (wanted) => {
        if (!open) throw new Error("a closed snapshot is read");
        if (at >= bytes.length) return undefined;
        const piece = bytes.slice(at, at + wanted);
        at += piece.length;
        return piece;
      },
      close: () => {
        if (open) this.snapshotsOpen--;
        open = false;
      },
    };
  }

  restore(): SnapshotSink {
    this.restores++;
    const restoring = this.restores;
    this.#unfinished = undefined;
    this.commands = [];
    this.appliedIndex = 0;
    const pieces: Uint8Array[] = [];
    const check = (): void => {
      if (restoring !== this.restores) throw new Error("two restores at a time");
    };
    return {
      push: (bytes) => {
        check();
        pieces.push(bytes.slice());
        return undefined;
      },
      finish: () => {
        check();
        return this.#fill(pieces);
      },
    };
  }

  #fill(pieces: readonly Uint8Array[]): string | undefined {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    const zero = bytes.indexOf(0);
    if (zero < 0) return "cut off";
    const text = decodeText(bytes.subarray(0, zero)) ?? "";
    const { version, index, commands } = JSON.parse(text) as {
      version: number;
      index: number;
      commands: Applied[];
    };
    if (version > (this.options.version ?? 1)) return "unsupported_version";
    this.commands = commands;
    this.appliedIndex = index;
    for (const applied of commands) this.options.told?.(applied);
    return undefined;
  }
}
