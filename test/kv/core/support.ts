/** What several tests of the machine need. */
import assert from "node:assert/strict";
import type { Command, SessionHeader } from "../../../src/kv/core/command.ts";
import { encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import type { MachineEntry } from "../../../src/base/machine.ts";
import type { KvResult } from "../../../src/kv/core/result.ts";
import { Xxh64 } from "../../../src/base/xxh64.ts";

/** All pieces of a snapshot of the machine as it is. */
export function piecesOf(machine: KvMachine, bytesWanted = 64 * 1024): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const source = machine.snapshot();
  for (
    let piece = source.next(bytesWanted);
    piece !== undefined;
    piece = source.next(bytesWanted)
  ) {
    pieces.push(piece);
  }
  return pieces;
}

/** The hash of the state: a snapshot's bytes follow from it alone. */
export function digest(machine: KvMachine): string {
  const hash = new Xxh64();
  for (const piece of piecesOf(machine)) hash.update(piece);
  return hash.digestHex();
}

/** All keys of a lease, read to the end. */
export function leaseKeys(machine: KvMachine, id: number): Uint8Array[] {
  const scan = machine.leaseKeys(id);
  try {
    for (;;) {
      const keys = scan.step(1);
      assert.notEqual(keys, "too_large");
      if (keys !== undefined) return keys as Uint8Array[];
    }
  } finally {
    scan.close();
  }
}

/** Applies an entry to its end, however large. */
export function applied(machine: KvMachine, entry: MachineEntry): KvResult {
  let result = machine.apply(entry);
  while (result === undefined) result = machine.resume();
  return result;
}

export function restored(pieces: readonly Uint8Array[], keysPerSlice?: number): KvMachine {
  const machine = new KvMachine({ keysPerSlice });
  const sink = machine.restore();
  for (const piece of pieces) assert.equal(sink.push(piece), undefined);
  assert.equal(sink.finish(), undefined);
  return machine;
}

/** A machine that is given commands one after the other, as a log would. */
export class Harness {
  machine = new KvMachine();
  index = 0;

  apply(command: Command, session?: SessionHeader): KvResult {
    return this.bytes(encodeCommand(command, session));
  }

  bytes(data: Uint8Array): KvResult {
    return applied(this.machine, { index: ++this.index, term: 1, data });
  }
}
