/** `covey kv snapshot save FILE`: the whole store in one file. */
import { Xxh64 } from "../../base/xxh64.ts";
import type { KvClient } from "../../kv/client.ts";
import type { KvSnapshotEnd } from "../../kv/client_types.ts";
import { type Disk, DiskError, type DiskFile } from "../../runtime/port.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { Interrupt } from "../interrupt.ts";
import { formatBytes } from "../table.ts";
import { withKv } from "./client.ts";
import { trailerBytes, trailerOf } from "./snapshot_file.ts";

/** The file gets its name when it is whole and durable; until then it ends in `.part`. */
export async function save(this: CliContext, flags: NodeFlags, path: string): Promise<void> {
  if (path === "" || path.endsWith("/")) throw new UsageError("FILE names no file");
  const { disk, host } = this.runtime;
  using interrupt = new Interrupt(host);
  await withKv(this, flags, async (kv) => {
    let end: KvSnapshotEnd;
    try {
      end = await write(disk, path, kv, interrupt.signal);
    } catch (error) {
      if (!interrupt.signal.aborted) throw error;
      return this.exitWith(interrupt.exitCode);
    }
    if (flags.json) await this.printJson({ file: path, ...end });
    else await this.print(path);
    this.note(`${formatBytes(end.bytes)}, as of index ${end.index} in term ${end.term}`);
  });
}

async function write(
  disk: Disk,
  path: string,
  kv: KvClient,
  signal: AbortSignal,
): Promise<KvSnapshotEnd> {
  const part = `${path}.part`;
  const file = await disk.open(part, { write: true, create: true, truncate: true }).catch(
    (error: unknown) => {
      if (!(error instanceof DiskError)) throw error;
      if (error.kind !== "not-found" && error.kind !== "not-a-directory") throw error;
      throw new UsageError(`${path} cannot be made: its folder does not exist`);
    },
  );
  let end: KvSnapshotEnd;
  try {
    end = await fill(file, kv, signal);
    await disk.rename(part, path);
  } catch (error) {
    await disk.remove(part);
    throw error;
  }
  await disk.syncDirectory(folderOf(path));
  return end;
}

/** Writes and closes the file; what it returns counts the file's bytes. */
async function fill(file: DiskFile, kv: KvClient, signal: AbortSignal): Promise<KvSnapshotEnd> {
  try {
    const pieces = kv.snapshot({ signal });
    const hash = new Xxh64();
    for (;;) {
      const piece = await pieces.next();
      if (!piece.done) {
        hash.update(piece.value);
        await file.append(piece.value);
      } else {
        await file.append(trailerOf(hash));
        await file.sync();
        const { bytes, ...end } = piece.value;
        return { ...end, bytes: bytes + trailerBytes };
      }
    }
  } finally {
    await file.close();
  }
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}
