/**
 * Idle connections to the admin endpoint take all descriptors of a process. The log waits for one;
 * the process goes on, and what waited is written when descriptors are free again.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { engineArguments, mainFile } from "../support/cli.ts";
import { ServerProcess } from "../support/server_process.ts";

const descriptors = 256;

/** One connection that is kept, and one call after the other on it. */
class Client {
  readonly #socket: net.Socket;
  #received = "";
  #answered: ((status: number | undefined) => void) | undefined = undefined;

  constructor(port: number) {
    this.#socket = net.connect(port, "127.0.0.1");
    this.#socket.setEncoding("latin1").on("data", (text: string) => this.#take(text));
    // A close follows, which says the same.
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.#answered?.(undefined));
  }

  /** The status; undefined when the connection is closed. */
  put(value: string): Promise<number | undefined> {
    const body = JSON.stringify({ key: btoa("k"), value: btoa(value) });
    if (this.#socket.destroyed) return Promise.resolve(undefined);
    const answer = new Promise<number | undefined>((resolve) => this.#answered = resolve);
    const head = ["POST /covey.kv.v1.KV/Put HTTP/1.1", "host: localhost"];
    head.push("content-type: application/json", `content-length: ${body.length}`);
    this.#socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
    return answer;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf("\r\n\r\n");
    const length = /^content-length: (\d+)/im.exec(this.#received);
    if (end < 0 || length === null) return;
    if (this.#received.length < end + 4 + Number(length[1])) return;
    const status = Number(this.#received.split(" ")[1]);
    this.#received = "";
    this.#answered?.(status);
  }
}

/** Connections that say nothing; those that the kernel or the server refuses do not count. */
async function flood(port: number, count: number): Promise<net.Socket[]> {
  const opened: Promise<net.Socket | undefined>[] = [];
  for (let number = 0; number < count; number++) {
    opened.push(
      new Promise((resolve) => {
        const socket = net.connect(port, "127.0.0.1", () => resolve(socket));
        socket.on("error", () => resolve(undefined));
      }),
    );
  }
  return (await Promise.all(opened)).filter((socket) => socket !== undefined);
}

/** A new connection that is answered: a server that ran out of descriptors comes back soon. */
async function connected(port: number, value: string): Promise<Client> {
  for (let tries = 0; tries < 100; tries++) {
    const client = new Client(port);
    if (await client.put(value) === 200) return client;
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail("nobody answers any more");
}

test("a flood of idle connections makes the log wait, and does not end the process", {
  skip: process.platform === "linux" ? false : "limits are set as Linux has them",
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), "covey-flood-"));
  const agent = await ServerProcess.start({
    directory,
    command: [
      ...["/bin/sh", "-c", `ulimit -n ${descriptors}; exec "$@" 2>&1`, "sh"],
      ...[process.execPath, ...engineArguments, mainFile, "agent"],
      ...["--listen", "tcp://127.0.0.1:0", "--admin-listen", "tcp://127.0.0.1:0"],
      ...["--data", "data"],
      ...["--set", "log.format=json", "--set", "raft.segment_bytes=1MiB"],
      ...["--set", "raft.snapshot_log_bytes=1MiB"],
    ],
  });
  const sockets: net.Socket[] = [];
  let client: Client | undefined;
  try {
    const served = await agent.line((line) => line.includes("admin endpoint serves"), 20_000);
    const port = Number(/"http:\/\/127\.0\.0\.1:(\d+)\/"/.exec(served)?.[1]);
    await agent.line((line) => line.includes('"message":"ready"'), 20_000);
    client = new Client(port);
    const value = "x".repeat(300_000);
    assert.equal(await client.put(value), 200);
    sockets.push(...await flood(port, descriptors + 100));
    assert.ok(sockets.length > descriptors / 2, `${sockets.length} connections`);
    // Each segment takes three: soon one is needed that cannot be opened. Deno closes all
    // connections of a server that finds no descriptor to accept with.
    const waits = agent.line((line) => line.includes("the log waits for a free"), 20_000);
    const closed = Promise.withResolvers<void>();
    let stopped = false;
    let last: Promise<number | undefined> = Promise.resolve(200);
    const puts = (async () => {
      for (;;) {
        last = client.put(value);
        if (await last !== 200) return closed.resolve();
        if (stopped) return;
      }
    })();

    await Promise.race([waits, closed.promise]);
    waits.catch(() => {});
    stopped = true;
    assert.equal(agent.isRunning, true, agent.output);
    if ("Bun" in globalThis) await waits;
    for (const socket of sockets.splice(0)) socket.destroy();
    await puts;
    if ("Bun" in globalThis) assert.equal(await last, 200, "what waited is written");
    for (let number = 0; number < 5; number++) {
      client.close();
      client = await connected(port, value);
    }
    client.close();
    const { code } = await agent.stop();
    assert.equal(code, 0, agent.output);
    assert.doesNotMatch(agent.output, /the process ends|EMFILE.*"level":"error"/);
  } finally {
    for (const socket of sockets) socket.destroy();
    client?.close();
    await agent.kill();
    rmSync(directory, { recursive: true });
  }
});
