/**
 * The file of `covey kv snapshot save`: the store's bytes as they are, then 16 bytes by which damage
 * is recognized: `covey-sv` and the XXH64 of everything before, highest byte first.
 */
import { encodeText, equalBytes } from "../../base/bytes.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { Xxh64 } from "../../base/xxh64.ts";
import { type Disk, DiskError } from "../../runtime/port.ts";
import { UsageError } from "../exit.ts";

const mark = encodeText("covey-sv");
export const trailerBytes = 16;
const pieceBytes = 64 << 10;

export function trailerOf(hash: Xxh64): Uint8Array {
  const trailer = new Uint8Array(trailerBytes);
  trailer.set(mark);
  new DataView(trailer.buffer).setBigUint64(mark.length, hash.digest());
  return trailer;
}

/** The store's bytes in pieces; throws at the end when they are not what was saved. */
export async function* readSnapshotFile(disk: Disk, path: string): AsyncGenerator<Uint8Array> {
  const file = await disk.open(path, { read: true }).catch((error: unknown) => {
    if (error instanceof DiskError && error.kind === "not-found") {
      throw new UsageError(`there is no file ${path}`);
    }
    throw error;
  });
  try {
    const size = await file.size();
    const end = size - trailerBytes;
    const trailer = new Uint8Array(trailerBytes);
    if (end > 0) await file.read(trailer, end);
    if (end <= 0 || !equalBytes(trailer.subarray(0, mark.length), mark)) {
      throw new CoveyError(
        Code.invalidArgument,
        `${path} was not written by "covey kv snapshot save", or its end is missing`,
      );
    }
    const hash = new Xxh64();
    for (let at = 0; at < end;) {
      const piece = new Uint8Array(Math.min(pieceBytes, end - at));
      await file.read(piece, at);
      hash.update(piece);
      at += piece.length;
      yield piece;
    }
    if (!equalBytes(trailerOf(hash), trailer)) {
      throw new CoveyError(Code.dataLoss, `${path} is damaged: its checksum is wrong`);
    }
  } finally {
    await file.close();
  }
}
