/** A disk that asks before each of its calls, so that a test can count them and make them fail. */
import type { Disk, DiskFile, OpenOptions } from "../../../src/runtime/port.ts";

export type DiskCall = keyof Disk | keyof DiskFile;

export interface CallPlace {
  readonly call: DiskCall;
  /** Of the file or folder. */
  readonly path: string;
  /** A write that answers only when it is durable. */
  readonly isDurable: boolean;
}

/** Runs the call, or does something else. */
export type Meet = <T>(place: CallPlace, run: () => Promise<T>) => Promise<T>;

/** {@link Disk}, with `meet` around each call. */
export function watchedDisk(disk: Disk, meet: Meet): Disk {
  const at = <T>(call: keyof Disk, path: string, run: () => Promise<T>): Promise<T> =>
    meet({ call, path, isDurable: false }, run);
  return {
    open: (path, options) =>
      at(
        "open",
        path,
        async () => watchedFile(await disk.open(path, options), path, options, meet),
      ),
    readFile: (path, bytesMax) => at("readFile", path, () => disk.readFile(path, bytesMax)),
    replaceFile: (path, bytes, mode) =>
      at("replaceFile", path, () => disk.replaceFile(path, bytes, mode)),
    rename: (from, to) => at("rename", from, () => disk.rename(from, to)),
    remove: (path) => at("remove", path, () => disk.remove(path)),
    removeTree: (path) => at("removeTree", path, () => disk.removeTree(path)),
    list: (path) => at("list", path, () => disk.list(path)),
    makeDirectory: (path, mode) => at("makeDirectory", path, () => disk.makeDirectory(path, mode)),
    stat: (path) => at("stat", path, () => disk.stat(path)),
    syncDirectory: (path) => at("syncDirectory", path, () => disk.syncDirectory(path)),
    lock: (path) => at("lock", path, () => disk.lock(path)),
    freeBytes: (path) => at("freeBytes", path, () => disk.freeBytes(path)),
  };
}

function watchedFile(
  file: DiskFile,
  path: string,
  { durable = false }: OpenOptions,
  meet: Meet,
): DiskFile {
  const at = <T>(call: keyof DiskFile, run: () => Promise<T>, isDurable = false): Promise<T> =>
    meet({ call, path, isDurable }, run);
  return {
    read: (target, position) => at("read", () => file.read(target, position)),
    write: (bytes, position) => at("write", () => file.write(bytes, position), durable),
    append: (bytes) => at("append", () => file.append(bytes), durable),
    size: () => at("size", () => file.size()),
    truncate: (size) => at("truncate", () => file.truncate(size)),
    sync: () => at("sync", () => file.sync()),
    close: () => at("close", () => file.close()),
  };
}
