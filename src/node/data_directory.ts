/**
 * The folder that holds everything a node must not lose: made at the first start, locked while the
 * node runs, refused when it is somebody else's or damaged.
 *
 * `node.json` says what the folder is: `{"format": 1, "nodeId": "<32 hexadecimal digits>"}`. A
 * format above the one that this version knows is refused, so that an older binary never writes
 * into a newer folder. With `"restoring": true`, a saved store is being put into it: that is durable
 * before anything of the store is there and goes last, so that no node runs on a part of one.
 */
import { decodeText, encodeText, toHex } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import { type Disk, DiskError, type DiskLock, type Random } from "../runtime/port.ts";
import { socketBytesMax } from "../base/address.ts";

const format = 1;
const identityFile = "node.json";
const lockFile = "lock";
const socketFile = "covey.sock";
/** More than any identity file ever holds. */
const identityBytesMax = 64 << 10;

export interface DataDirectory {
  readonly path: string;
  readonly nodeId: string;
  /** Where the local command line reaches the node. */
  readonly socket: string;
  /** Lets another process have the folder. */
  release(): Promise<void>;
}

/** What a restore needs done before it fills the folder. */
export interface RestoreParts {
  /** Rejects when the folder holds what must not be lost. */
  requireNone(directory: string): Promise<void>;
  /** Takes away what a restore left that was not finished. */
  clear(directory: string): Promise<void>;
}

/** A fresh 128-bit id in hexadecimal. */
export function makeNodeId(random: Random): string {
  const bytes = new Uint8Array(16);
  random.fill(bytes);
  return toHex(bytes);
}

/**
 * Opens the folder, made when missing; `path` is absolute. Errors say what is wrong with it. Opened
 * with `restore`, it is refused to everyone else until `finishRestore`.
 */
export async function openDataDirectory(
  disk: Disk,
  random: Random,
  path: string,
  restore?: RestoreParts,
): Promise<DataDirectory> {
  const socket = `${path}/${socketFile}`;
  const socketBytes = encodeText(socket).length;
  if (socketBytes > socketBytesMax) {
    throw new CoveyError(
      Code.failedPrecondition,
      `data directory ${path}: the path of its socket, with /${socketFile}, has ${socketBytes} ` +
        `bytes, and a unix socket allows ${socketBytesMax}: name a shorter path as node.data`,
    );
  }
  let lock: DiskLock;
  let parents: Parent[];
  try {
    parents = await parentsOf(disk, path);
    await disk.makeDirectory(path, 0o700);
    lock = await disk.lock(`${path}/${lockFile}`);
  } catch (error) {
    throw explainDiskError(path, error);
  }
  try {
    const nodeId = restore === undefined
      ? await identify(disk, random, path, parents)
      : await beginRestore(disk, random, path, parents, restore);
    return { path, nodeId, socket, release: () => lock.release() };
  } catch (error) {
    await lock.release();
    throw error instanceof DiskError ? explainDiskError(path, error) : error;
  }
}

/** The store is whole and durable: a node may run on it. */
export async function finishRestore(disk: Disk, { path, nodeId }: DataDirectory): Promise<void> {
  try {
    await writeIdentity(disk, path, { nodeId, isRestoring: false });
  } catch (error) {
    throw explainDiskError(path, error);
  }
}

/** What `node.json` says. */
interface FolderIdentity {
  readonly nodeId: string;
  readonly isRestoring: boolean;
}

/** A folder above the data directory. */
interface Parent {
  readonly path: string;
  /** It was there before this start. */
  readonly existed: boolean;
}

/**
 * All folders above `path`, the nearest first. One that is there may have been made by a start that
 * was killed before its name was durable.
 */
async function parentsOf(disk: Disk, path: string): Promise<Parent[]> {
  const parents: Parent[] = [];
  let existed = false;
  for (let folder = path; folder !== "/" && folder !== ".";) {
    const slash = folder.lastIndexOf("/");
    folder = slash > 0 ? folder.slice(0, slash) : slash === 0 ? "/" : ".";
    existed ||= await isThere(disk, folder);
    parents.push({ path: folder, existed });
  }
  return parents;
}

async function isThere(disk: Disk, folder: string): Promise<boolean> {
  try {
    await disk.stat(folder);
    return true;
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    // What may not be looked at is there, and was not made here.
    if (error.kind === "denied") return true;
    if (error.kind !== "not-found") throw error;
    return false;
  }
}

/**
 * Makes the names in these folders durable. One above the nearest that was there has no new name from
 * this start: where it may not be opened, or its file system has nothing to sync, nobody made one.
 */
async function syncParents(disk: Disk, parents: readonly Parent[]): Promise<void> {
  const nearest = parents.findIndex(({ existed }) => existed);
  for (let at = 0; at < parents.length; at++) {
    try {
      await disk.syncDirectory(parents[at].path);
    } catch (error) {
      if (!(error instanceof DiskError) || (error.kind !== "denied" && at <= nearest)) throw error;
    }
  }
}

async function identify(
  disk: Disk,
  random: Random,
  path: string,
  parents: readonly Parent[],
): Promise<string> {
  const identity = await readIdentity(disk, path);
  if (identity === undefined) {
    // The folder's own name must survive a power loss before anything in it is promised to. A
    // folder that holds an identity has been through here.
    await syncParents(disk, parents);
    const nodeId = makeNodeId(random);
    await writeIdentity(disk, path, { nodeId, isRestoring: false });
    return nodeId;
  }
  if (identity.isRestoring) {
    throw new CoveyError(
      Code.failedPrecondition,
      `the restore into ${path} was not finished: run "covey kv snapshot restore" again, with this ` +
        `folder or an empty one`,
    );
  }
  // What an earlier start made in here may not have a durable name yet, if it was killed.
  await disk.syncDirectory(path);
  return identity.nodeId;
}

async function beginRestore(
  disk: Disk,
  random: Random,
  path: string,
  parents: readonly Parent[],
  restore: RestoreParts,
): Promise<string> {
  const identity = await readIdentity(disk, path);
  if (identity?.isRestoring === true) {
    await restore.clear(path);
    return identity.nodeId;
  }
  await restore.requireNone(path);
  await syncParents(disk, parents);
  const nodeId = identity?.nodeId ?? makeNodeId(random);
  await writeIdentity(disk, path, { nodeId, isRestoring: true });
  return nodeId;
}

async function writeIdentity(
  disk: Disk,
  path: string,
  { nodeId, isRestoring }: FolderIdentity,
): Promise<void> {
  const content = { format, nodeId, ...(isRestoring ? { restoring: true } : {}) };
  const text = JSON.stringify(content) + "\n";
  await disk.replaceFile(`${path}/${identityFile}`, encodeText(text), 0o600);
}

/** Undefined when the folder has none yet. */
async function readIdentity(disk: Disk, path: string): Promise<FolderIdentity | undefined> {
  const file = `${path}/${identityFile}`;
  let bytes: Uint8Array;
  try {
    bytes = await disk.readFile(file, identityBytesMax);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    if (error.kind === "too-large") throw damaged(file, "is larger than any that covey writes");
    if (error.kind === "is-a-directory") throw damaged(file, "is a folder");
    if (error.kind !== "not-found") throw error;
    return undefined;
  }
  const identity = parseIdentity(bytes);
  if ("nodeId" in identity) return identity;
  if ("newer" in identity) {
    throw new CoveyError(
      Code.failedPrecondition,
      `${file} has format ${identity.newer}, and this version of covey knows up to ${format}: a ` +
        `newer covey wrote it; run that one, or name another folder as node.data`,
    );
  }
  throw damaged(file, identity.wrong);
}

function damaged(file: string, wrong: string): CoveyError {
  return new CoveyError(
    Code.dataLoss,
    `${file} ${wrong}; the folder is damaged or not covey's: restore it from a backup, or name ` +
      `another folder as node.data`,
  );
}

function parseIdentity(bytes: Uint8Array): FolderIdentity | { wrong: string } | { newer: number } {
  const text = decodeText(bytes);
  if (text === undefined) return { wrong: "is not UTF-8 text" };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { wrong: "is not JSON" };
  }
  if (typeof value !== "object" || value === null) return { wrong: "is not a JSON object" };
  const { format: found, nodeId, restoring } = value as Readonly<Record<string, unknown>>;
  if (typeof found !== "number" || !Number.isSafeInteger(found) || found < 1) {
    return { wrong: "names no format" };
  }
  if (found > format) return { newer: found };
  if (typeof nodeId !== "string" || !/^[0-9a-f]{32}$/.test(nodeId)) {
    return { wrong: "holds no node id of 32 hexadecimal digits" };
  }
  return { nodeId, isRestoring: restoring === true };
}

/** What a disk's error in the data directory means for whoever uses it. */
export function explainDiskError(path: string, error: unknown): CoveyError {
  if (!(error instanceof DiskError)) return CoveyError.from(error, Code.internal);
  switch (error.kind) {
    case "busy":
      return new CoveyError(
        Code.failedPrecondition,
        `data directory ${path} is in use by another covey agent: stop that one, or give this ` +
          `one a folder of its own as node.data`,
        { cause: error },
      );
    case "denied":
      return new CoveyError(
        Code.permissionDenied,
        `data directory ${path} is not writable (${error.message}): grant access to it, or ` +
          `name another one as node.data`,
        { cause: error },
      );
    case "full":
      return new CoveyError(Code.resourceExhausted, `the disk of ${path} is full`, {
        cause: error,
      });
    case "exists":
    case "not-a-directory":
      return new CoveyError(
        Code.failedPrecondition,
        `data directory ${path} is not a folder: name another one as node.data`,
        { cause: error },
      );
    case "not-found":
      return new CoveyError(
        Code.failedPrecondition,
        `data directory ${path} cannot be made (${error.message}): name another one as node.data`,
        { cause: error },
      );
    default:
      return new CoveyError(Code.internal, `data directory ${path}: ${error.message}`, {
        cause: error,
      });
  }
}
