/** The smallest machine that shows whether entries are applied once, in order, and kept. */
import type {
  Machine,
  MachineEntry,
  SnapshotSink,
  SnapshotSource,
} from "../../src/base/machine.ts";

export class CounterMachine implements Machine<number> {
  appliedIndex = 0;
  sum = 0;

  apply({ index, data }: MachineEntry): number {
    this.appliedIndex = index;
    if (data.length === 8) this.sum += decodeNumbers(data)[0];
    return this.sum;
  }

  resume(): number {
    throw new Error("no entry is ever unfinished");
  }

  isFatal(): boolean {
    return false;
  }

  encodeResult(sum: number): Uint8Array {
    return encodeNumbers(sum);
  }

  decodeResult(bytes: Uint8Array): number | undefined {
    return bytes.length === 8 ? decodeNumbers(bytes)[0] : undefined;
  }

  snapshot(): SnapshotSource {
    let piece: Uint8Array | undefined = encodeNumbers(this.appliedIndex, this.sum);
    return {
      next: () => {
        const next = piece;
        piece = undefined;
        return next;
      },
      close: () => {},
    };
  }

  restore(): SnapshotSink {
    const bytes: number[] = [];
    return {
      push: (piece) => {
        bytes.push(...piece);
        return undefined;
      },
      finish: () => {
        if (bytes.length !== 16) return "incomplete";
        [this.appliedIndex, this.sum] = decodeNumbers(Uint8Array.from(bytes));
        return undefined;
      },
    };
  }
}

export function encodeNumbers(...numbers: number[]): Uint8Array {
  const bytes = new Uint8Array(8 * numbers.length);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, at) => view.setFloat64(8 * at, number));
  return bytes;
}

function decodeNumbers(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 8 }, (_, at) => view.getFloat64(8 * at));
}
