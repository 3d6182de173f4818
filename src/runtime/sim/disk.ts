/**
 * The `Disk` of one process. Every call takes its time and shows its effect when it completes, so
 * that calls in flight at once may overtake each other (appends do not), and so that an array which
 * is changed before its write resolves is written changed.
 */
import { encodeText } from "../../base/bytes.ts";
import {
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
  type DiskStat,
  type OpenOptions,
} from "../port.ts";
import type { FileNode, SyncPass } from "./file_node.ts";
import { never } from "./never.ts";
import { SimFile } from "./open_file.ts";
import { splitPath } from "./path.ts";
import type { SimProcess } from "./process.ts";
import type { SimDisk } from "./sim_disk.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** Numbers of the calls in the trace. */
const callNumbers = {
  open: 1,
  readFile: 2,
  rename: 3,
  remove: 4,
  removeTree: 5,
  list: 6,
  makeDirectory: 7,
  stat: 8,
  syncDirectory: 9,
  lock: 10,
  freeBytes: 11,
  read: 12,
  write: 13,
  append: 14,
  size: 15,
  truncate: 16,
  sync: 17,
  close: 18,
} as const;

type CallName = keyof typeof callNumbers;

/** A write that its process may not live to see done. */
interface InterruptibleWrite {
  readonly file: FileNode;
  readonly bytes: Uint8Array;
  /** Undefined appends. */
  readonly position: number | undefined;
}

interface WriteOptions extends Omit<InterruptibleWrite, "file"> {
  /** Whether it answers only when the bytes are durable. */
  readonly isDurable: boolean;
}

export class ProcessDisk implements Disk {
  readonly store: SimDisk;
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #writes = new Set<InterruptibleWrite>();
  readonly #locked = new Set<FileNode>();
  /** Calls without an answer yet, for the report of a deadlock. */
  callsInFlight = 0;

  constructor(world: World, process: SimProcess, store: SimDisk) {
    this.#world = world;
    this.#process = process;
    this.store = store;
  }

  open(path: string, options: OpenOptions): Promise<DiskFile> {
    const absolute = this.#process.resolvePath(path);
    return this.call("open", absolute, () => {
      const { tree } = this.store;
      this.store.checkAllowed(absolute);
      this.store.maybeFail("open", absolute);
      const there = tree.find(absolute);
      let file: FileNode;
      if (there === undefined && options.create === true) {
        file = tree.createFile(absolute, options.mode ?? 0o600);
      } else {
        file = tree.file(absolute);
        if (options.create === true && options.exclusive === true) {
          throw new DiskError("exists", absolute, "exists already");
        }
      }
      if (options.truncate === true && options.write === true) file.truncate(0);
      return new SimFile(this, { file, path: absolute, open: options });
    });
  }

  readFile(path: string, bytesMax: number): Promise<Uint8Array> {
    const absolute = this.#process.resolvePath(path);
    return this.call("readFile", absolute, () => {
      const file = this.store.tree.file(absolute);
      this.store.checkAllowed(absolute);
      this.store.maybeFail("open", absolute);
      this.store.maybeFail("read", absolute);
      if (file.size > bytesMax) {
        throw new DiskError("too-large", absolute, `${file.size} bytes, at most ${bytesMax}`);
      }
      return file.content();
    });
  }

  /** From the calls that it consists of, so that a crash may come between any two of them. */
  async replaceFile(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
    const temporary = `${path}.tmp-${this.#world.nextId++}`;
    const file = await this.open(temporary, { write: true, create: true, truncate: true, mode });
    try {
      await file.write(bytes, 0);
      await file.sync();
      await file.close();
      await this.rename(temporary, path);
    } catch (error) {
      // The temporary file is of no use to anybody; that it could not be removed changes nothing.
      await this.remove(temporary).catch(() => {});
      throw error;
    }
    await this.syncDirectory(splitPath(this.#process.resolvePath(path)).folder);
  }

  rename(from: string, to: string): Promise<void> {
    const source = this.#process.resolvePath(from);
    const target = this.#process.resolvePath(to);
    return this.call("rename", `${source}\n${target}`, () => {
      this.store.checkAllowed(source);
      this.store.checkAllowed(target);
      this.store.tree.rename(source, target);
    });
  }

  remove(path: string): Promise<void> {
    const absolute = this.#process.resolvePath(path);
    return this.call("remove", absolute, () => {
      this.store.checkAllowed(absolute);
      this.store.tree.remove(absolute);
    });
  }

  removeTree(path: string): Promise<void> {
    const absolute = this.#process.resolvePath(path);
    return this.call("removeTree", absolute, () => {
      this.store.checkAllowed(absolute);
      this.store.maybeFail("open", absolute);
      this.store.tree.removeTree(absolute);
    });
  }

  list(path: string): Promise<string[]> {
    const absolute = this.#process.resolvePath(path);
    return this.call("list", absolute, () => {
      this.store.checkAllowed(absolute);
      this.store.maybeFail("open", absolute);
      return [...this.store.tree.folder(absolute).entries.keys()].sort();
    });
  }

  makeDirectory(path: string, mode = 0o700): Promise<void> {
    const absolute = this.#process.resolvePath(path);
    return this.call("makeDirectory", absolute, () => {
      this.store.checkAllowed(absolute);
      this.store.tree.makeFolders(absolute, mode);
    });
  }

  stat(path: string): Promise<DiskStat> {
    const absolute = this.#process.resolvePath(path);
    return this.call("stat", absolute, (): DiskStat => {
      const node = this.store.tree.get(absolute);
      if (node.kind === "file") return { kind: "file", sizeBytes: node.size, mode: node.mode };
      return {
        kind: node.kind === "socket" ? "other" : "directory",
        sizeBytes: 0,
        mode: node.mode,
      };
    });
  }

  syncDirectory(path: string): Promise<void> {
    const absolute = this.#process.resolvePath(path);
    return this.call("syncDirectory", absolute, () => {
      const folder = this.store.tree.folder(absolute);
      this.store.maybeFail("open", absolute);
      this.store.maybeFail("sync", absolute);
      this.store.tree.syncFolder(folder);
    });
  }

  lock(path: string): Promise<DiskLock> {
    const absolute = this.#process.resolvePath(path);
    return this.call("lock", absolute, (): DiskLock => {
      const { tree } = this.store;
      this.store.checkAllowed(absolute);
      const there = tree.find(absolute);
      const file = there === undefined ? tree.createFile(absolute, 0o600) : tree.file(absolute);
      if (file.lockedBy !== null) throw new DiskError("busy", absolute, "is locked");
      const owner = {};
      file.lockedBy = owner;
      this.#locked.add(file);
      return {
        release: () => {
          if (file.lockedBy === owner && !this.#process.dead) {
            file.lockedBy = null;
            this.#locked.delete(file);
          }
          return Promise.resolve();
        },
      };
    });
  }

  freeBytes(path: string): Promise<number> {
    const absolute = this.#process.resolvePath(path);
    return this.call("freeBytes", absolute, () => {
      this.store.tree.get(absolute);
      return Math.max(0, this.store.quotaBytes - this.store.usedBytes());
    });
  }

  // -------------------------------------------------------------------------------------------
  // For open files

  /** One call: `work` runs when its time has passed, in the process that asked. */
  call<T>(
    name: CallName,
    subject: string,
    work: () => T,
    write?: InterruptibleWrite,
  ): Promise<T> {
    const process = this.#process;
    if (process.dead) return never();
    const { kernel, trace } = this.#world;
    const id = this.#world.nextId++;
    trace.record(
      TraceKind.diskCall,
      process.machine.index,
      id,
      callNumbers[name],
      encodeText(subject),
    );
    if (write !== undefined) {
      trace.record(TraceKind.diskBytes, process.machine.index, id, 0, write.bytes);
    }
    this.callsInFlight++;
    return new Promise<T>((resolve, reject) => {
      const finish = (): void => {
        this.callsInFlight--;
        try {
          resolve(work());
          trace.record(TraceKind.diskDone, process.machine.index, id);
        } catch (error) {
          if (!(error instanceof DiskError)) throw error;
          trace.record(TraceKind.diskFailed, process.machine.index, id);
          reject(error);
        }
      };
      const waits = name === "sync" || name === "syncDirectory";
      let at = kernel.now + (waits ? this.store.syncTicks() : this.store.ioTicks());
      if (write !== undefined && write.position === undefined) {
        at = Math.max(at, write.file.appendsUntil);
        write.file.appendsUntil = at;
      }
      kernel.at(at, runCall, finish, process);
    });
  }

  /** A write at a position, or at the end when that is undefined. */
  async write(
    file: FileNode,
    path: string,
    { isDurable, ...options }: WriteOptions,
  ): Promise<void> {
    const write: InterruptibleWrite = { file, ...options };
    const { bytes, position } = options;
    if (!this.#process.dead) this.#writes.add(write);
    const pass = await this.call(
      position === undefined ? "append" : "write",
      `${path} ${position ?? "end"}`,
      () => {
        this.#writes.delete(write);
        this.store.maybeFail("write", path);
        const from = position ?? file.size;
        this.store.write(file, path, { bytes, position: from });
        return isDurable ? file.beginSyncOf(from, from + bytes.length) : undefined;
      },
      write,
    );
    if (pass !== undefined) await this.sync(file, path, pass);
  }

  /** Waits until what the pass covers is durable. */
  sync(file: FileNode, path: string, pass: SyncPass): Promise<void> {
    return this.call("sync", path, () => {
      try {
        this.store.maybeFail("sync", path);
      } catch (error) {
        file.failSync(pass);
        throw error;
      }
      file.endSync(pass);
    });
  }

  /**
   * The process is gone, its locks with it. Of the writes that it had under way, some part may
   * have reached the cache.
   */
  processDied(_how: "machine-lives" | "machine-dies"): void {
    for (const { file, bytes, position } of this.#writes) {
      const part = this.store.interruptedBytes(bytes.length);
      if (part === 0) continue;
      this.#world.coverage.fault("tornWrite");
      file.write(bytes.subarray(0, part), position ?? file.size);
    }
    this.#writes.clear();
    for (const file of this.#locked) file.lockedBy = null;
    this.#locked.clear();
  }
}

function runCall(finish: () => void): boolean {
  finish();
  return true;
}
