/**
 * A disk that is memory, for nodes that are told to keep nothing (`--dev`): everything else then
 * works as it always does. It is lost with the process, so its node comes back as another one.
 */
import {
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
  type DiskStat,
  type OpenOptions,
} from "../runtime/port.ts";

interface Stored {
  bytes: Uint8Array;
  size: number;
}

export class MemoryDisk implements Disk {
  readonly #files = new Map<string, Stored>();
  readonly #folders = new Set<string>(["/", "."]);

  open(path: string, options: OpenOptions): Promise<DiskFile> {
    let file = this.#files.get(path);
    if (file === undefined) {
      if (options.create !== true) return rejected("not-found", path, "no such file");
      file = { bytes: new Uint8Array(0), size: 0 };
      this.#files.set(path, file);
    } else if (options.exclusive === true) return rejected("exists", path, "it is there already");
    if (options.truncate === true) file.size = 0;
    return Promise.resolve(new MemoryFile(file));
  }

  readFile(path: string, bytesMax: number): Promise<Uint8Array> {
    const file = this.#files.get(path);
    if (file === undefined) return rejected("not-found", path, "no such file");
    if (file.size > bytesMax) return rejected("too-large", path, `above ${bytesMax} bytes`);
    return Promise.resolve(file.bytes.slice(0, file.size));
  }

  replaceFile(path: string, bytes: Uint8Array): Promise<void> {
    this.#files.set(path, { bytes: bytes.slice(), size: bytes.length });
    return Promise.resolve();
  }

  rename(from: string, to: string): Promise<void> {
    const file = this.#files.get(from);
    if (file === undefined) return rejected("not-found", from, "no such file");
    this.#files.delete(from);
    this.#files.set(to, file);
    return Promise.resolve();
  }

  remove(path: string): Promise<void> {
    if (!this.#files.delete(path)) return rejected("not-found", path, "no such file");
    return Promise.resolve();
  }

  removeTree(path: string): Promise<void> {
    for (const name of [...this.#files.keys()]) {
      if (name.startsWith(`${path}/`)) this.#files.delete(name);
    }
    for (const name of [...this.#folders]) {
      if (name === path || name.startsWith(`${path}/`)) this.#folders.delete(name);
    }
    return Promise.resolve();
  }

  list(path: string): Promise<string[]> {
    const names = new Set<string>();
    for (const name of [...this.#files.keys(), ...this.#folders]) {
      if (name.startsWith(`${path}/`)) names.add(name.slice(path.length + 1).split("/")[0]);
    }
    return Promise.resolve([...names].sort());
  }

  makeDirectory(path: string): Promise<void> {
    for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) {
      this.#folders.add(path.slice(0, at));
    }
    return Promise.resolve();
  }

  stat(path: string): Promise<DiskStat> {
    const file = this.#files.get(path);
    if (file !== undefined) {
      return Promise.resolve({ kind: "file", sizeBytes: file.size, mode: 0o600 });
    }
    if (!this.#folders.has(path)) return rejected("not-found", path, "no such file");
    return Promise.resolve({ kind: "directory", sizeBytes: 0, mode: 0o700 });
  }

  syncDirectory(): Promise<void> {
    return Promise.resolve();
  }

  lock(): Promise<DiskLock> {
    return Promise.resolve({ release: () => Promise.resolve() });
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(Number.MAX_SAFE_INTEGER);
  }
}

class MemoryFile implements DiskFile {
  readonly #stored: Stored;

  constructor(stored: Stored) {
    this.#stored = stored;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    const { bytes, size } = this.#stored;
    const length = Math.max(0, Math.min(target.length, size - position));
    target.set(bytes.subarray(position, position + length));
    return Promise.resolve(length);
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    const stored = this.#stored;
    const end = position + bytes.length;
    if (end > stored.bytes.length) {
      const grown = new Uint8Array(Math.max(end, stored.bytes.length * 2, 4096));
      grown.set(stored.bytes.subarray(0, stored.size));
      stored.bytes = grown;
    }
    if (position > stored.size) stored.bytes.fill(0, stored.size, position);
    stored.bytes.set(bytes, position);
    stored.size = Math.max(stored.size, end);
    return Promise.resolve();
  }

  append(bytes: Uint8Array): Promise<void> {
    return this.write(bytes, this.#stored.size);
  }

  size(): Promise<number> {
    return Promise.resolve(this.#stored.size);
  }

  async truncate(size: number): Promise<void> {
    if (size > this.#stored.size) {
      await this.write(new Uint8Array(size - this.#stored.size), this.#stored.size);
    }
    this.#stored.size = size;
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function rejected(
  kind: "not-found" | "exists" | "too-large",
  path: string,
  message: string,
): Promise<never> {
  return Promise.reject(new DiskError(kind, path, message));
}
