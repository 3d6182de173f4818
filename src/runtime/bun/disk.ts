/** The port's `Disk` on `node:fs`, every call off the event loop. */
import fs from "node:fs";
import path from "node:path";
import { type Disk, DiskError, type DiskStat } from "../port.ts";
import { readAll } from "../read_all.ts";
import { diskError } from "./error.ts";
import { openFile, writeFileAt } from "./file.ts";
import { lockFile } from "./lock.ts";

/** The file system as this process sees it. */
export function createDisk(): Disk {
  /** The last replacement of each path, since two at once would share a temporary file. */
  const replacements = new Map<string, Promise<void>>();
  return {
    open: openFile,
    readFile,
    replaceFile(file, bytes, mode) {
      const before = replacements.get(file);
      const started = replace(file, bytes, mode ?? 0o600, before).finally(() => {
        if (replacements.get(file) === started) replacements.delete(file);
      });
      replacements.set(file, started);
      return started;
    },
    rename: (from, to) => tried(from, "rename", fs.promises.rename(from, to)),
    remove: (file) => tried(file, "remove", fs.promises.unlink(file)),
    removeTree: (folder) => tried(folder, "remove", fs.promises.rm(folder, { recursive: true })),
    async list(folder) {
      const names = await tried(folder, "list", fs.promises.readdir(folder));
      return names.sort();
    },
    async makeDirectory(folder, mode) {
      await tried(
        folder,
        "create",
        fs.promises.mkdir(folder, { recursive: true, mode: mode ?? 0o700 }),
      );
    },
    stat,
    syncDirectory,
    lock: lockFile,
    async freeBytes(place) {
      const found = await tried(place, "statfs", fs.promises.statfs(place, { bigint: true }));
      // Far above any disk the product is exact to the byte only as bigint.
      return Number(found.bavail * found.bsize);
    },
  };
}

async function tried<T>(file: string, doing: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw diskError(error, file, doing);
  }
}

async function stat(file: string): Promise<DiskStat> {
  const found = await tried(file, "stat", fs.promises.stat(file));
  return {
    kind: found.isFile() ? "file" : found.isDirectory() ? "directory" : "other",
    sizeBytes: found.size,
    mode: found.mode & 0o777,
  };
}

async function readFile(file: string, bytesMax: number): Promise<Uint8Array> {
  // Opening a folder works; it is the first read that would fail.
  if ((await stat(file)).kind === "directory") {
    throw new DiskError("is-a-directory", file, "read: is a directory");
  }
  const opened = await openFile(file, { read: true });
  try {
    return await readAll(opened, file, bytesMax);
  } finally {
    await opened.close();
  }
}

async function replace(
  file: string,
  bytes: Uint8Array,
  mode: number,
  before: Promise<void> | undefined,
): Promise<void> {
  try {
    await before;
  } catch {
    // Its own caller knows.
  }
  // Always the same name, so that what a crash leaves behind is used up by the next replacement.
  const temporary = `${file}.tmp`;
  try {
    await writeFileAt(temporary, bytes, mode);
    await tried(file, "rename", fs.promises.rename(temporary, file));
  } catch (error) {
    // Half a file is of no use, and on a full disk it is in the way. Where it cannot be removed it
    // was not made, or the next replacement uses it up.
    await fs.promises.unlink(temporary).catch(() => {});
    throw error;
  }
  await syncDirectory(path.dirname(file));
}

async function syncDirectory(folder: string): Promise<void> {
  const handle = await tried(folder, "open", fs.promises.open(folder, fs.constants.O_RDONLY));
  try {
    if (!(await handle.stat()).isDirectory()) {
      throw new DiskError("not-a-directory", folder, "sync: not a directory");
    }
    await handle.sync();
  } catch (error) {
    throw diskError(error, folder, "sync");
  } finally {
    await handle.close();
  }
}
