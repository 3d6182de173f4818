/**
 * What a node remembers of the cluster that it is part of: `cluster.json` in the data directory.
 * With it, the log must be there; without it, the node has never voted.
 */
import { decodeText, encodeText, toHex } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import { xxh64 } from "../base/xxh64.ts";
import { type Disk, DiskError } from "../runtime/port.ts";
import type { Member } from "./members.ts";

const format = 1;
const fileName = "cluster.json";
const fileBytesMax = 1 << 20;

export interface ClusterRecord {
  /** 32 hexadecimal digits. */
  readonly clusterId: string;
  /** This node's replica in the group of the key-value store. */
  readonly replica: number;
  /** Who founded the cluster, by replica; empty on a node that was added later. */
  readonly founders: readonly Member[];
  /**
   * Whether the log has been made; the record is there before it. A founder writes the record before
   * it tells the others that it agrees, and sticks to it: otherwise a restart might let it found
   * another cluster, too.
   */
  readonly founded: boolean;
  /** The id before a repair gave it a new one. */
  readonly formerClusterId?: string;
}

const idPattern = /^[0-9a-f]{32}$/;

/** The same on every founder: it follows from who they are. */
export function clusterIdOf(nodeIds: readonly string[]): string {
  const bytes = encodeText([...nodeIds].sort().join("\n"));
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, xxh64(bytes, 1n));
  view.setBigUint64(8, xxh64(bytes, 2n));
  return toHex(out);
}

/** Undefined when the node is part of no cluster. */
export async function readClusterRecord(
  disk: Disk,
  directory: string,
): Promise<ClusterRecord | undefined> {
  const file = `${directory}/${fileName}`;
  let bytes: Uint8Array;
  try {
    bytes = await disk.readFile(file, fileBytesMax);
  } catch (error) {
    if (error instanceof DiskError && error.kind === "not-found") return undefined;
    throw CoveyError.from(error, Code.internal);
  }
  return parse(file, bytes);
}

/** Throws when the record is missing and there is a log, which may have voted and promised. */
export async function refuseOrphanedLog(disk: Disk, directory: string): Promise<void> {
  let names: readonly string[] = [];
  try {
    names = await disk.list(`${directory}/raft/log`);
  } catch (error) {
    if (!(error instanceof DiskError) || error.kind !== "not-found") {
      throw CoveyError.from(error, Code.internal);
    }
  }
  if (names.length === 0) return;
  throw new CoveyError(
    Code.dataLoss,
    `${directory}/${fileName} is missing, and the log of a replica is there: give the file back, or ` +
      'run "covey raft remove" with this node\'s replica on another node (covey raft peers lists ' +
      'them), empty this data directory, start the node, and run "covey raft add" with its address',
  );
}

export async function writeClusterRecord(
  disk: Disk,
  directory: string,
  record: ClusterRecord,
): Promise<void> {
  const text = JSON.stringify({ format, ...record });
  await disk.replaceFile(`${directory}/${fileName}`, encodeText(`${text}\n`), 0o600);
}

/** Durable once the directory has been synced. */
export async function removeClusterRecord(disk: Disk, directory: string): Promise<void> {
  try {
    await disk.remove(`${directory}/${fileName}`);
  } catch (error) {
    if (!(error instanceof DiskError) || error.kind !== "not-found") throw error;
  }
}

function parse(file: string, bytes: Uint8Array): ClusterRecord {
  const damaged = (what: string): CoveyError =>
    new CoveyError(
      Code.dataLoss,
      `${file} ${what}: restore the data directory from a backup, or remove the replica from the ` +
        "cluster and add this node anew with an empty one",
    );
  const text = decodeText(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    throw damaged("is not JSON");
  }
  if (typeof value !== "object" || value === null) throw damaged("is not a JSON object");
  const found = value as Readonly<Record<string, unknown>>;
  if (typeof found.format !== "number" || !Number.isSafeInteger(found.format)) {
    throw damaged("names no format");
  }
  if (found.format > format) {
    throw new CoveyError(
      Code.failedPrecondition,
      `${file} has format ${found.format}, and this version of covey knows up to ${format}: run ` +
        "the newer covey that wrote it",
    );
  }
  const { clusterId, replica, founders, founded, formerClusterId } = found;
  for (const id of formerClusterId === undefined ? [clusterId] : [clusterId, formerClusterId]) {
    if (typeof id !== "string" || !idPattern.test(id)) throw damaged("holds no cluster id");
  }
  if (typeof replica !== "number" || !Number.isSafeInteger(replica) || replica < 1) {
    throw damaged("holds no replica id");
  }
  if (!Array.isArray(founders) || !founders.every(isMember)) throw damaged("lists no founders");
  if (typeof founded !== "boolean") throw damaged("does not say whether there is a log");
  const record = { clusterId: clusterId as string, replica, founders, founded };
  return formerClusterId === undefined
    ? record
    : { ...record, formerClusterId: formerClusterId as string };
}

function isMember(value: unknown): value is Member {
  if (typeof value !== "object" || value === null) return false;
  const { replica, nodeId, name, address } = value as Readonly<Record<string, unknown>>;
  return Number.isSafeInteger(replica) && typeof nodeId === "string" && typeof name === "string" &&
    typeof address === "string";
}
