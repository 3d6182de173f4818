/** An open file of a process. */
import { DiskError, type DiskFile, type OpenOptions } from "../port.ts";
import type { ProcessDisk } from "./disk.ts";
import type { FileNode } from "./file_node.ts";

export class SimFile implements DiskFile {
  readonly #disk: ProcessDisk;
  readonly #file: FileNode;
  readonly #path: string;
  readonly #options: OpenOptions;
  #closed = false;

  constructor(disk: ProcessDisk, options: { file: FileNode; path: string; open: OpenOptions }) {
    this.#disk = disk;
    this.#file = options.file;
    this.#path = options.path;
    this.#options = options.open;
  }

  get #isDurable(): boolean {
    return this.#options.durable === true;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return this.#disk.call("read", `${this.#path} ${position} ${target.length}`, () => {
      this.#check("read");
      this.#disk.store.maybeFail("read", this.#path);
      return this.#file.read(target, position);
    });
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    this.#check("write");
    await this.#disk.write(this.#file, this.#path, { bytes, position, isDurable: this.#isDurable });
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#check("write");
    const isDurable = this.#isDurable;
    await this.#disk.write(this.#file, this.#path, { bytes, position: undefined, isDurable });
  }

  size(): Promise<number> {
    return this.#disk.call("size", this.#path, () => {
      this.#check(undefined);
      return this.#file.size;
    });
  }

  truncate(size: number): Promise<void> {
    return this.#disk.call("truncate", `${this.#path} ${size}`, () => {
      this.#check("write");
      this.#file.truncate(size);
    });
  }

  async sync(): Promise<void> {
    this.#check(undefined);
    // What counts is what was written when the call was made, not when it answers.
    await this.#disk.sync(this.#file, this.#path, this.#file.beginSync());
  }

  close(): Promise<void> {
    return this.#disk.call("close", this.#path, () => {
      this.#closed = true;
    });
  }

  #check(use: "read" | "write" | undefined): void {
    if (this.#closed) throw new DiskError("io", this.#path, "the file is closed");
    if (use !== undefined && this.#options[use] !== true) {
      throw new DiskError("io", this.#path, `the file is not open to ${use}`);
    }
  }
}
