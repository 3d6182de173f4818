/**
 * The documents' snippets as a user has them: an empty folder with the checkout beside it as
 * `../covey`, a `covey` on the PATH, and free ports in place of those that the text names.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url).href).replace(/\/$/, "");
export const isDeno = "Deno" in globalThis;
const tools = join(root, "node_modules/.bin");

/** One fenced block of a document. */
export interface Block {
  readonly language: string;
  /** From its first line, `// name` or `# name`, which is then not part of the text. */
  readonly name: string | undefined;
  readonly text: string;
}

/** All blocks of a document in order. */
export function readBlocks(path: string): Block[] {
  const text = readFileSync(join(root, path), "utf8");
  return [...text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, body]) => {
    const match = /^(?:\/\/|#) ([\w.-]+)\n/.exec(body);
    return match === null
      ? { language, name: undefined, text: body }
      : { language, name: match[1], text: body.slice(match[0].length) };
  });
}

/** Ports that nothing listens on at this moment. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return server;
  }));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What runs on; ended with {@link Scene.close}. */
export interface Running {
  /** Resolves with everything printed so far, once it contains this. */
  printed(text: string): Promise<string>;
  /** Sends SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
}

/** An empty folder of a user, and what stands around it. */
export class Scene {
  readonly folder: string;
  readonly #base: string;
  readonly #environment: Record<string, string>;
  readonly #running: Set<ChildProcess> = new Set();
  /** Replaced in every text: a port that a document names becomes one that is free. */
  readonly #replacements: ReadonlyMap<string, string>;

  constructor(
    replacements: ReadonlyMap<string, string>,
    options: { readonly tools?: boolean; readonly environment?: Record<string, string> } = {},
  ) {
    this.#base = mkdtempSync(join(tmpdir(), "covey-import-"));
    this.folder = join(this.#base, "app");
    this.#replacements = replacements;
    const programs = join(this.#base, "bin");
    mkdirSync(this.folder);
    mkdirSync(programs);
    symlinkSync(root, join(this.#base, "covey"));
    for (const name of ["bun", "deno"]) symlinkSync(join(tools, name), join(programs, name));
    const runtime = isDeno ? "deno run --no-check -A" : "bun --no-install";
    const covey = join(programs, "covey");
    writeFileSync(covey, `#!/bin/sh\nexec ${runtime} ${root}/src/main.ts "$@"\n`);
    chmodSync(covey, 0o755);
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("COVEY_"));
    this.#environment = {
      ...Object.fromEntries(inherited) as Record<string, string>,
      ...options.environment,
      PATH: [programs, ...(options.tools ? [tools] : []), process.env.PATH].join(":"),
      DENO_NO_PROMPT: "1",
      DENO_NO_UPDATE_CHECK: "1",
      NO_COLOR: "1",
    };
  }

  /** A text of a document with this scene's ports in it. */
  fill(text: string): string {
    let filled = text;
    for (const [from, to] of this.#replacements) filled = filled.replaceAll(from, to);
    return filled;
  }

  write(block: Block): void {
    assert.ok(block.name !== undefined, `a block has no name:\n${block.text}`);
    writeFileSync(join(this.folder, block.name), this.fill(block.text));
  }

  #spawn(script: string): ChildProcess {
    const child = spawn("sh", ["-euc", script], {
      cwd: this.folder,
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#running.add(child);
    child.once("close", () => this.#running.delete(child));
    return child;
  }

  /** Runs shell lines to their end. */
  run(lines: string, limitMs = 60_000): Promise<Ran> {
    return new Promise((resolve, reject) => {
      const child = this.#spawn(this.fill(lines));
      const limit = setTimeout(() => this.#kill(child), limitMs);
      let stdout = "";
      let stderr = "";
      child.stdout?.setEncoding("utf8").on("data", (text: string) => stdout += text);
      child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr += text);
      child.once("error", reject);
      child.once("close", (code) => {
        clearTimeout(limit);
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Starts what does not end by itself. */
  start(line: string): Running {
    const child = this.#spawn(`exec ${this.fill(line).trim()}`);
    let output = "";
    const watchers = new Set<() => void>();
    const tell = (text: string): void => {
      output += text;
      for (const watcher of watchers) watcher();
    };
    child.stdout?.setEncoding("utf8").on("data", tell);
    child.stderr?.setEncoding("utf8").on("data", tell);
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    return {
      printed: (text) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            if (!output.includes(text)) return;
            watchers.delete(look);
            resolve(output);
          };
          watchers.add(look);
          look();
          void ended.then(() => reject(new Error(`${line} never printed ${text}: ${output}`)));
        }),
      async terminate() {
        process.kill(child.pid as number, "SIGTERM");
        return await ended;
      },
    };
  }

  #kill(child: ChildProcess): void {
    try {
      process.kill(-(child.pid as number), "SIGKILL");
    } catch {
      // It is gone already.
    }
  }

  close(): void {
    for (const child of this.#running) this.#kill(child);
    rmSync(this.#base, { recursive: true, force: true });
  }
}

/** Runs a test in a scene with a free port for each that the texts name. */
export async function withScene(
  ports: readonly number[],
  body: (scene: Scene) => Promise<void>,
  options: { readonly tools?: boolean; readonly environment?: Record<string, string> } = {},
): Promise<void> {
  const free = await freePorts(ports.length);
  const scene = new Scene(new Map(ports.map((port, at) => [`${port}`, `${free[at]}`])), options);
  try {
    await body(scene);
  } finally {
    scene.close();
  }
}

/**
 * Why Deno cannot run a program outside of the checkout here, or false: it takes the packages from
 * its own cache or from npm.
 */
export async function noPackages(): Promise<string | false> {
  const scene = new Scene(new Map());
  try {
    const specifiers = ["npm:@bufbuild/protobuf@2.17.0", "npm:hono@4.13.19", "npm:zod@4.6.7"];
    const { code, stderr } = await scene.run(
      `exec deno cache --no-config ${specifiers.join(" ")}`,
      30_000,
    );
    return code === 0 ? false : `npm cannot be reached: ${stderr.trim().split("\n").at(-1)}`;
  } finally {
    scene.close();
  }
}
