/** A store that was saved in a file, read whole: to be restored, or to say what it holds. */
import { Code, CoveyError } from "../base/error.ts";
import { Xxh64 } from "../base/xxh64.ts";
import { KvMachine } from "../kv/core/kv_machine.ts";

/** What a saved store holds. */
export interface SavedStore {
  /** As `covey kv hash` gives it. */
  readonly hash: string;
  readonly index: number;
  readonly revision: number;
  readonly compactRevision: number;
  readonly keys: number;
  readonly leases: number;
  readonly bytes: number;
}

/** A machine with what the pieces hold; rejects when they are not a whole store. */
export async function readStore(pieces: AsyncIterable<Uint8Array>): Promise<KvMachine> {
  const machine = new KvMachine();
  const sink = machine.restore();
  for await (const piece of pieces) {
    const problem = sink.push(piece);
    if (problem !== undefined) throw notRestored(problem);
  }
  const problem = sink.finish();
  if (problem !== undefined) throw notRestored(problem);
  return machine;
}

export async function describeStore(pieces: AsyncIterable<Uint8Array>): Promise<SavedStore> {
  const hash = new Xxh64();
  let bytes = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      hash.update(piece);
      bytes += piece.length;
      yield piece;
    }
  }
  const machine = await readStore(counted());
  const { revision, compactRevision, keys, leases } = machine.statistics();
  const index = machine.appliedIndex;
  return { hash: hash.digestHex(), index, revision, compactRevision, keys, leases, bytes };
}

function notRestored(problem: string): CoveyError {
  return problem === "unsupported_version"
    ? new CoveyError(
      Code.failedPrecondition,
      "the store was saved by a newer covey: restore it with that one",
    )
    : new CoveyError(Code.dataLoss, `the file holds no whole store: ${problem}`);
}
