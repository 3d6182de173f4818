/** What a child writes to standard error: kept in a file, and its end in memory. */
import type { Disk, DiskFile } from "../../runtime/port.ts";

const tailLines = 20;

export class LogFile {
  readonly path: string;
  readonly #file: DiskFile;
  readonly #decoder = new TextDecoder();
  #tail = "";
  #written: Promise<void> = Promise.resolve();
  #failure: unknown = undefined;

  private constructor(path: string, file: DiskFile) {
    this.path = path;
    this.#file = file;
  }

  static async open(disk: Disk, path: string): Promise<LogFile> {
    return new LogFile(path, await disk.open(path, { write: true, create: true }));
  }

  /** The last lines. */
  get tail(): string {
    return this.#tail;
  }

  /** `chunk` may change afterwards. */
  append(chunk: Uint8Array): void {
    const bytes = chunk.slice();
    this.#tail = (this.#tail + this.#decoder.decode(bytes, { stream: true })).split("\n")
      .slice(-tailLines - 1).join("\n");
    this.#written = this.#written.then(() => this.#write(bytes));
  }

  async close(): Promise<void> {
    await this.#written;
    await this.#file.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      await this.#file.append(bytes);
    } catch (error) {
      // A full disk is the nodes' matter to show; the demo goes on without this log.
      this.#failure = error;
    }
  }
}
