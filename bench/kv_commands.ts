/** What the loading process is told, and the process as the benchmark holds it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { StoreName } from "./kv_store.ts";
import type { WorkOptions, WorkResult } from "./kv_work.ts";

export type ClientCommand =
  | {
    readonly do: "connect";
    readonly addresses: readonly string[];
    readonly connections: number;
  }
  | {
    readonly do: "run";
    readonly work: Partial<WorkOptions>;
    readonly warmupSeconds: number;
    readonly seconds: number;
  }
  | { readonly do: "total"; readonly work: Partial<WorkOptions> }
  | { readonly do: "begin"; readonly work: Partial<WorkOptions> }
  | { readonly do: "mark"; readonly name: string }
  | { readonly do: "end" }
  | { readonly do: "verify"; readonly address: string; readonly timeoutMs: number }
  | {
    readonly do: "first-write";
    /** Milliseconds since 1970. */
    readonly sinceMs: number;
    readonly everyMs: number;
    readonly limitMs: number;
  };

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** Clients that share one connection. */
export const clientsPerConnection = 16;

export class LoadProcess {
  readonly #child: ChildProcess;
  readonly #waiting: Map<number, Waiting> = new Map();
  #nextId = 1;
  #stderr = "";

  constructor(peer: StoreName, descriptorFile: string) {
    const script = fileURLToPath(new URL("./kv_client.ts", import.meta.url).href);
    const args = peer === "etcd" ? [script, peer, descriptorFile] : [script, peer];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr!.on("data", (chunk) => this.#stderr = (this.#stderr + chunk).slice(-4096));
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#answered(line));
    this.#child.once("close", () => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`the loading process ended: ${this.#stderr}`));
      }
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Opens as many connections as the clients share; to these addresses in turns. */
  async connect(addresses: readonly string[], clients: number): Promise<void> {
    const connections = Math.max(1, Math.ceil(clients / clientsPerConnection));
    await this.#ask({ do: "connect", addresses, connections });
  }

  /** One connection to each of these. */
  async connectEach(addresses: readonly string[]): Promise<void> {
    await this.#ask({ do: "connect", addresses, connections: addresses.length });
  }

  run(work: Partial<WorkOptions>, warmupSeconds: number, seconds: number): Promise<WorkResult> {
    return this.#ask({ do: "run", work, warmupSeconds, seconds });
  }

  /** Resolves when `work.total` operations are done. */
  total(work: Partial<WorkOptions>): Promise<WorkResult> {
    return this.#ask({ do: "total", work });
  }

  begin(work: Partial<WorkOptions>): Promise<void> {
    return this.#ask({ do: "begin", work });
  }

  mark(name: string): Promise<void> {
    return this.#ask({ do: "mark", name });
  }

  end(): Promise<WorkResult> {
    return this.#ask({ do: "end" });
  }

  /** Reads back from this node what the last work wrote to keys of their own. */
  verify(address: string, timeoutMs: number): Promise<{ read: number; lost: string[] }> {
    return this.#ask({ do: "verify", address, timeoutMs });
  }

  /** Over all connections; see the client. */
  async firstWriteMs(sinceMs: number, limitMs: number): Promise<number> {
    const answer = await this.#ask<{ ms: number }>({
      do: "first-write",
      sinceMs,
      everyMs: 10,
      limitMs,
    });
    return answer.ms;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
  }

  #ask<T>(command: ClientCommand): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#child.stdin!.write(`${JSON.stringify({ id, ...command })}\n`);
    });
  }

  #answered(line: string): void {
    const answer = JSON.parse(line) as Answer;
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer.result);
    else waiting?.reject(new Error(answer.error));
  }
}
