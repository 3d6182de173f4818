/** Where the demo keeps its data: refused when it could only fail there. */
import { toHex } from "../../base/bytes.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { loadConfig } from "../../config/load.ts";
import { type Disk, DiskError, type Runtime } from "../../runtime/port.ts";
import { formatBytes } from "../table.ts";

/** Segments of the log that a node makes soon: the present one, one ahead, and a snapshot's worth. */
const segmentsPerNode = 3;

/** Makes a new folder below TMPDIR for so many nodes; it is the caller's to remove. */
export async function makeDemoFolder(runtime: Runtime, nodes: number): Promise<string> {
  const { disk, host, random } = runtime;
  const parent = (host.environment("TMPDIR") || "/tmp").replace(/(?<=.)\/+$/, "");
  await requireFolder(disk, parent);
  // The nodes have the defaults, too.
  const { config: { raft } } = await loadConfig(runtime);
  const leastBytes = raft.low_water_bytes + nodes * segmentsPerNode * raft.segment_bytes;
  const freeBytes = await disk.freeBytes(parent);
  if (freeBytes < leastBytes) {
    throw new CoveyError(
      Code.resourceExhausted,
      `the disk of ${parent} has ${formatBytes(freeBytes)} free, and the demo needs ` +
        `${formatBytes(leastBytes)}: make room there, or name another folder as TMPDIR`,
    );
  }
  const suffix = new Uint8Array(6);
  random.fill(suffix);
  const folder = `${parent === "/" ? "" : parent}/covey-demo-${toHex(suffix)}`;
  await disk.makeDirectory(folder, 0o700);
  return folder;
}

/** What somebody mistyped must not be made. */
async function requireFolder(disk: Disk, path: string): Promise<void> {
  let isFolder = false;
  let cause: unknown;
  try {
    isFolder = (await disk.stat(path)).kind === "directory";
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    if (error.kind !== "not-found" && error.kind !== "not-a-directory") throw error;
    cause = error;
  }
  if (isFolder) return;
  throw new CoveyError(
    Code.failedPrecondition,
    `${path} is no folder, and the demo keeps its data below it: name one as TMPDIR`,
    { cause },
  );
}
