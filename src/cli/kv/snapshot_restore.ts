/** `covey kv snapshot restore FILE`: a new cluster that begins with a saved store. */
import { loadConfig } from "../../config/load.ts";
import { restoreData } from "../../start.ts";
import { loadRequest } from "../config_flags.ts";
import type { CliContext } from "../context.ts";
import { readSnapshotFile } from "./snapshot_file.ts";

/** The flags of `covey kv snapshot restore`. */
export interface RestoreFlags {
  readonly config?: string;
  readonly data?: string;
  readonly json?: boolean;
}

export async function restore(this: CliContext, flags: RestoreFlags, path: string): Promise<void> {
  const { config, data } = flags;
  const loaded = await loadConfig(this.runtime, loadRequest({ config, data }));
  const restored = await restoreData(
    this.runtime,
    loaded,
    readSnapshotFile(this.runtime.disk, path),
  );
  if (flags.json) await this.printJson({ file: path, ...restored });
  else await this.print(`${restored.keys} keys at revision ${restored.revision}`);
  this.note(
    `start the node with this data folder: it is cluster ${restored.clusterId}, alone; covey raft ` +
      "add brings the others, with empty folders",
  );
}
