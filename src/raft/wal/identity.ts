/**
 * Whose log this is. `identity.json` is written once, last when a log is made, and compared at every
 * opening: a folder that was copied from another node, or restored in the wrong place, must not vote
 * under somebody else's name. Each segment carries the log's own id, so that a single file from
 * elsewhere is noticed, too.
 */
import { decodeText, encodeText, fromHex, toHex } from "../../base/bytes.ts";
import { type Disk, DiskError } from "../../runtime/port.ts";
import { LogError } from "./error.ts";
import { idBytes } from "./segment.ts";

const format = 1;
const identityBytesMax = 1 << 20;
export const identityName = "identity.json";

/** A replica that this process founded a group with. Later ones are in the log itself. */
export interface ReplicaIdentity {
  readonly group: number;
  readonly replica: number;
}

export interface LogIdentity {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly replicas: readonly ReplicaIdentity[];
}

/** Undefined when there is no such file. The answer is the log's id. */
export async function readIdentity(
  disk: Disk,
  directory: string,
  expected: LogIdentity,
): Promise<Uint8Array | undefined> {
  const file = `${directory}/${identityName}`;
  let bytes: Uint8Array;
  try {
    bytes = await disk.readFile(file, identityBytesMax);
  } catch (error) {
    if (error instanceof DiskError && error.kind === "not-found") return undefined;
    throw error;
  }
  const found = parse(file, bytes);
  const differences = [
    ["cluster", found.identity.clusterId, expected.clusterId],
    ["node", found.identity.nodeId, expected.nodeId],
    ["replicas", replicasText(found.identity), replicasText(expected)],
  ].filter(([, there, here]) => there !== here);
  if (differences.length > 0) {
    const text = differences.map(([what, there, here]) => `${what} ${there}, not ${here}`);
    throw new LogError(
      "foreign",
      { file },
      `the log belongs to ${text.join("; ")}: remove the replica from the cluster and add a new ` +
        "one, or give this node its own folder back",
    );
  }
  return found.logId;
}

export async function writeIdentity(
  disk: Disk,
  directory: string,
  { identity, logId }: { identity: LogIdentity; logId: Uint8Array },
): Promise<void> {
  const { clusterId, nodeId } = identity;
  const replicas = sorted(identity).map(({ group, replica }) => ({ group, replica }));
  const text = JSON.stringify({ format, logId: toHex(logId), clusterId, nodeId, replicas });
  await disk.replaceFile(`${directory}/${identityName}`, encodeText(`${text}\n`));
}

function sorted(identity: LogIdentity): ReplicaIdentity[] {
  return [...identity.replicas].sort((a, b) => a.group - b.group);
}

function replicasText(identity: LogIdentity): string {
  return sorted(identity).map(({ group, replica }) => `${replica} of group ${group}`).join(", ");
}

function parse(file: string, bytes: Uint8Array): { identity: LogIdentity; logId: Uint8Array } {
  const damaged = (what: string): LogError =>
    new LogError("damaged", { file }, `${what}; restore the folder, or replace the replica`);
  const text = decodeText(bytes);
  if (text === undefined) throw damaged("is not UTF-8 text");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged("is not JSON");
  }
  if (typeof value !== "object" || value === null) throw damaged("is not a JSON object");
  const fields = value as Readonly<Record<string, unknown>>;
  if (typeof fields.format !== "number" || !Number.isSafeInteger(fields.format)) {
    throw damaged("names no format");
  }
  if (fields.format > format) {
    throw new LogError(
      "newer",
      { file },
      `has format ${fields.format}, and this version of covey knows up to ${format}: run the ` +
        "newer covey that wrote it",
    );
  }
  const { clusterId, nodeId } = fields;
  const logId = typeof fields.logId === "string" ? fromHex(fields.logId) : undefined;
  const replicas = Array.isArray(fields.replicas) ? fields.replicas as unknown[] : [];
  if (
    typeof clusterId !== "string" || typeof nodeId !== "string" || logId?.length !== idBytes ||
    !Array.isArray(fields.replicas) || !replicas.every(isReplica)
  ) {
    throw damaged("lacks an id");
  }
  return { identity: { clusterId, nodeId, replicas: replicas.filter(isReplica) }, logId };
}

function isReplica(value: unknown): value is ReplicaIdentity {
  if (typeof value !== "object" || value === null) return false;
  const { group, replica } = value as Readonly<Record<string, unknown>>;
  return Number.isSafeInteger(group) && Number.isSafeInteger(replica);
}
