/** Open files. Every call runs on the engine's thread pool, `sync` with them. */
import fs from "node:fs";
import { DiskError, type DiskFile, type OpenOptions } from "../port.ts";
import { diskError } from "./error.ts";

/** Opens; see the port. */
export async function openFile(path: string, options: OpenOptions): Promise<DiskFile> {
  const { O_CREAT, O_DSYNC, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants;
  let flags = options.write ? (options.read ? O_RDWR : O_WRONLY) : O_RDONLY;
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  if (options.truncate) flags |= O_TRUNC;
  if (options.durable) flags |= O_DSYNC;
  try {
    const handle = await fs.promises.open(path, flags, options.mode ?? 0o600);
    return new BunFile(handle, path);
  } catch (error) {
    throw diskError(error, path, "open");
  }
}

class BunFile implements DiskFile {
  readonly #handle: fs.promises.FileHandle;
  readonly #path: string;
  /** Appends go one after the other, so that each finds the end that the one before left. */
  #appended: Promise<void> = Promise.resolve();

  constructor(handle: fs.promises.FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async #tried<T>(doing: string, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw diskError(error, this.#path, doing);
    }
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let count = 0;
    while (count < target.length) {
      const { bytesRead } = await this.#tried(
        "read",
        this.#handle.read(target, count, target.length - count, position + count),
      );
      if (bytesRead === 0) break;
      count += bytesRead;
    }
    return count;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let count = 0;
    while (count < bytes.length) {
      const { bytesWritten } = await this.#tried(
        "write",
        this.#handle.write(bytes, count, bytes.length - count, position + count),
      );
      if (bytesWritten === 0) throw new DiskError("io", this.#path, "write: nothing was taken");
      count += bytesWritten;
    }
  }

  append(bytes: Uint8Array): Promise<void> {
    const appended = this.#appended.then(() => this.#appendNow(bytes));
    // A failed one is its own caller's matter; the next finds the end anew.
    this.#appended = appended.catch(() => {});
    return appended;
  }

  async #appendNow(bytes: Uint8Array): Promise<void> {
    await this.write(bytes, await this.size());
  }

  async size(): Promise<number> {
    return (await this.#tried("stat", this.#handle.stat())).size;
  }

  async truncate(size: number): Promise<void> {
    await this.#tried("truncate", this.#handle.truncate(size));
  }

  async sync(): Promise<void> {
    await this.#tried("sync", this.#handle.datasync());
  }

  async close(): Promise<void> {
    await this.#tried("close", this.#handle.close());
  }
}

/** Creates or replaces a file's content and makes the content durable. */
export async function writeFileAt(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  let handle: fs.promises.FileHandle | undefined;
  try {
    handle = await fs.promises.open(path, "w", mode);
    // A file that was left over has the mode it was left with, and the umask has its say in both.
    await handle.chmod(mode);
    const file = new BunFile(handle, path);
    await file.write(bytes, 0);
    await file.sync();
  } catch (error) {
    throw diskError(error, path, "write");
  } finally {
    await handle?.close();
  }
}
