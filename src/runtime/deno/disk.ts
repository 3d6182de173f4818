/** The port's `Disk` on Deno's own calls; what is read and written goes through `file.ts`. */
import { type Disk, DiskError, type DiskLock, type DiskStat } from "../port.ts";
import { readAll } from "../read_all.ts";
import { diskError } from "./error.ts";

/** The file system as this process sees it. */
export function createDisk(): Disk {
  /** The last replacement of each path, since two at once would share a temporary file. */
  const replacements = new Map<string, Promise<void>>();
  return {
    async open(path, options) {
      // Loaded at the first use: who only dials does without `node:fs`.
      const { openFile } = await import("./file.ts");
      return await openFile(path, options);
    },
    readFile,
    replaceFile(path, bytes, mode = 0o600) {
      const started = replace(path, bytes, mode, replacements.get(path)).finally(() => {
        if (replacements.get(path) === started) replacements.delete(path);
      });
      replacements.set(path, started);
      return started;
    },
    rename: (from, to) => tried(from, "rename", ["read", "write"], Deno.rename(from, to)),
    remove,
    removeTree,
    list,
    makeDirectory: (path, mode = 0o700) =>
      tried(path, "create", ["write"], Deno.mkdir(path, { recursive: true, mode })),
    stat,
    syncDirectory,
    lock,
    freeBytes,
  };
}

async function tried<T>(
  path: string,
  doing: string,
  permissions: readonly string[],
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw diskError(error, path, doing, permissions);
  }
}

async function readFile(path: string, bytesMax: number): Promise<Uint8Array> {
  const { openFile } = await import("./file.ts");
  const file = await openFile(path, { read: true });
  try {
    return await readAll(file, path, bytesMax);
  } finally {
    await file.close();
  }
}

async function replace(
  path: string,
  bytes: Uint8Array,
  mode: number,
  before: Promise<void> | undefined,
): Promise<void> {
  // Whether it failed is its own caller's matter.
  await before?.catch(() => {});
  const { openFile } = await import("./file.ts");
  // Always the same name, so that what a crash leaves behind is used up by the next replacement.
  const temporary = `${path}.tmp`;
  const file = await openFile(temporary, { write: true, create: true, truncate: true, mode });
  try {
    try {
      await file.write(bytes, 0);
      // A file that was left over has the mode it was left with; the umask has its say in both.
      await tried(temporary, "chmod", ["write"], Deno.chmod(temporary, mode));
      await file.sync();
    } finally {
      await file.close();
    }
    await tried(path, "rename", ["read", "write"], Deno.rename(temporary, path));
  } catch (error) {
    // Half a file is of no use, and on a full disk it is in the way. Where it cannot be removed,
    // the next replacement uses it up.
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  await syncDirectory(parentOf(path));
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

async function remove(path: string): Promise<void> {
  const found = await tried(path, "remove", ["read"], Deno.lstat(path));
  // Deno removes empty folders here as well, and so does its unlink of node:fs (tried on 2.9.5).
  if (found.isDirectory) throw new DiskError("is-a-directory", path, "remove: it is a folder");
  await tried(path, "remove", ["write"], Deno.remove(path));
}

async function removeTree(path: string): Promise<void> {
  await tried(path, "remove", ["write"], Deno.remove(path, { recursive: true }));
}

async function list(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(path)) names.push(entry.name);
  } catch (error) {
    throw diskError(error, path, "list", ["read"]);
  }
  return names.sort();
}

async function stat(path: string): Promise<DiskStat> {
  const found = await tried(path, "stat", ["read"], Deno.stat(path));
  return {
    kind: found.isFile ? "file" : found.isDirectory ? "directory" : "other",
    sizeBytes: found.size,
    mode: (found.mode ?? 0) & 0o777,
  };
}

/** Deno opens folders and its `sync` is fsync(2) on them (seen with strace on 2.9.5). */
async function syncDirectory(path: string): Promise<void> {
  const folder = await tried(path, "open", ["read"], Deno.open(path));
  try {
    if (!(await folder.stat()).isDirectory) {
      throw new DiskError("not-a-directory", path, "sync: it is no folder");
    }
    await folder.sync();
  } catch (error) {
    throw diskError(error, path, "sync", ["read"]);
  } finally {
    folder.close();
  }
}

/**
 * Deno's `tryLock` is flock(2) (seen with strace on 2.9.5). Files are opened close-on-exec, so a
 * child does not inherit the lock and outlive us with it.
 */
async function lock(path: string): Promise<DiskLock> {
  const options = { read: true, write: true, create: true, mode: 0o600 };
  const file = await tried(path, "lock", ["read", "write"], Deno.open(path, options));
  let held = false;
  try {
    held = await file.tryLock(true);
  } catch (error) {
    throw diskError(error, path, "lock", []);
  } finally {
    if (!held) file.close();
  }
  if (!held) throw new DiskError("busy", path, "lock: somebody holds it");
  return {
    // deno-lint-ignore require-await -- the port's form; closing needs no waiting
    async release() {
      if (!held) return;
      held = false;
      // The file stays: removing it would let two processes lock two files of the same name.
      file.close();
    },
  };
}

/** Deno has no statfs of its own. */
async function freeBytes(path: string): Promise<number> {
  const { default: fs } = await import("node:fs");
  const { call } = await import("./file.ts");
  try {
    const found = await call<import("node:fs").BigIntStatsFs>((done) =>
      fs.statfs(path, { bigint: true }, done)
    );
    return Number(found.bavail * found.bsize);
  } catch (error) {
    throw diskError(error, path, "statfs", ["read", "--allow-sys=statfs"]);
  }
}
