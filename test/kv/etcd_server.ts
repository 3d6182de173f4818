/** A real etcd 3 of one member, asked over its JSON gateway. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why there is none to compare with; false when there is. */
export function whyNoEtcd(): string | false {
  const { error, status } = spawnSync("etcd", ["--version"], { encoding: "utf8" });
  return error === undefined && status === 0
    ? false
    : "etcd is not installed (Debian's etcd-server has it)";
}

export type Json = Record<string, unknown>;

export type Answer =
  | { readonly ok: true; readonly body: Json }
  | { readonly ok: false; readonly code: number; readonly message: string };

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

export class EtcdServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #url: string;

  private constructor(child: ChildProcess, folder: string, url: string) {
    this.#child = child;
    this.#folder = folder;
    this.#url = url;
  }

  /** Resolves when it answers. */
  static async start(): Promise<EtcdServer> {
    const folder = mkdtempSync(join(tmpdir(), "covey-etcd-"));
    const [client, peer] = [await freePort(), await freePort()]
      .map((port) => `http://127.0.0.1:${port}`);
    const child = spawn(
      "etcd",
      [
        ["--name", "twin"],
        ["--data-dir", folder],
        ["--listen-client-urls", client],
        ["--advertise-client-urls", client],
        ["--listen-peer-urls", peer],
        ["--initial-advertise-peer-urls", peer],
        ["--initial-cluster", `twin=${peer}`],
        ["--log-level", "error"],
      ].flat(),
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let said = "";
    child.stderr?.on("data", (chunk) => said = (said + chunk).slice(-2_000));
    const server = new EtcdServer(child, folder, client);
    for (let tries = 0; tries < 200; tries++) {
      if (child.exitCode !== null) break;
      const health = await fetch(`${client}/health`).then((one) => one.json()).catch(() => ({}));
      if (health.health === "true") return server;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await server[Symbol.asyncDispose]();
    throw new Error(`etcd does not start: ${said}`);
  }

  /** One unary call. */
  async call(path: string, body: Json): Promise<Answer> {
    const response = await fetch(`${this.#url}/v3/${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    const answer = await response.json() as Json;
    if (response.ok) return { ok: true, body: answer };
    return { ok: false, code: Number(answer.code), message: String(answer.message) };
  }

  /** The answers of a watch, until `isLast` says so of one. */
  async watch(request: Json, isLast: (answer: Json) => boolean): Promise<Json[]> {
    const abort = new AbortController();
    const response = await fetch(`${this.#url}/v3/watch`, {
      method: "POST",
      body: JSON.stringify({ create_request: request }),
      signal: abort.signal,
    });
    const answers: Json[] = [];
    let text = "";
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body!) {
        text += decoder.decode(chunk, { stream: true });
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) {
          const { result } = JSON.parse(line) as { result: Json };
          answers.push(result);
          if (isLast(result)) return answers;
        }
      }
    } finally {
      abort.abort();
    }
    return answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    if (this.#child.exitCode === null) {
      this.#child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
