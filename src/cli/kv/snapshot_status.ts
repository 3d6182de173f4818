/** `covey kv snapshot status FILE`: what a saved store holds, without a node. */
import { readSavedStore } from "../../start.ts";
import type { CliContext } from "../context.ts";
import { formatBytes, formatTable } from "../table.ts";
import { readSnapshotFile } from "./snapshot_file.ts";

/** Reads all of it, so that a file that says something here can be restored. */
export async function fileStatus(
  this: CliContext,
  flags: { readonly json?: boolean },
  path: string,
): Promise<void> {
  const saved = await readSavedStore(readSnapshotFile(this.runtime.disk, path));
  if (flags.json) return await this.printJson({ file: path, ...saved });
  const { hash, index, revision, compactRevision, keys, leases, bytes } = saved;
  await this.print(formatTable([
    ["hash", hash],
    ["index", String(index)],
    ["revision", `${revision}, compacted up to ${compactRevision}`],
    ["keys", String(keys)],
    ["leases", String(leases)],
    ["size", formatBytes(bytes)],
  ]));
}
