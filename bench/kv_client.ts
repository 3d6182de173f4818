/**
 * The process that loads a key-value store, the same for both peers: one thread, its clients spread
 * over a few connections. It takes commands, one JSON object a line on standard input, and answers
 * each with one on standard output.
 *
 *   bun bench/kv_client.ts covey
 *   bun bench/kv_client.ts etcd DESCRIPTORS
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { selectRuntime } from "../src/start.ts";
import type { ClientCommand } from "./kv_commands.ts";
import { coveyDial, type Dial, etcdDial, EtcdMessages, type Store } from "./kv_store.ts";
import { sharedKey, Work, workDefault } from "./kv_work.ts";

class Client {
  readonly #dial: Dial;
  #stores: Store[] = [];
  #work: Work | undefined = undefined;

  constructor(dial: Dial) {
    this.#dial = dial;
  }

  async execute(command: ClientCommand): Promise<unknown> {
    switch (command.do) {
      case "connect":
        return await this.#connect(command.addresses, command.connections);
      case "run": {
        const work = this.#begin(command.work);
        await sleep(command.warmupSeconds * 1000);
        work.mark("measured");
        await sleep(command.seconds * 1000);
        work.mark("after");
        return await work.end();
      }
      case "total": {
        const work = this.#begin(command.work);
        await work.finished;
        return await work.end();
      }
      case "begin":
        this.#begin(command.work);
        return {};
      case "mark":
        this.#current.mark(command.name);
        return {};
      case "end":
        return await this.#current.end();
      case "verify":
        return await this.#verify(command.address, command.timeoutMs);
      case "first-write":
        return await this.#firstWrite(command.sinceMs, command.everyMs, command.limitMs);
    }
  }

  get #current(): Work {
    if (this.#work === undefined) throw new Error("no work was begun");
    return this.#work;
  }

  #begin(options: Partial<typeof workDefault>): Work {
    const work = new Work(this.#stores, { ...workDefault, ...options }, 1);
    this.#work = work;
    work.begin();
    return work;
  }

  async #verify(address: string, timeoutMs: number): Promise<object> {
    const store = this.#dial(address);
    try {
      return await this.#current.verify(store, timeoutMs);
    } finally {
      store.close();
    }
  }

  /** The connections take the addresses in turns; each has answered once when this resolves. */
  async #connect(addresses: readonly string[], connections: number): Promise<object> {
    for (const store of this.#stores) store.close();
    this.#stores = Array.from(
      { length: connections },
      (_, index) => this.#dial(addresses[index % addresses.length]),
    );
    const limitMs = performance.now() + 20_000;
    for (const store of this.#stores) {
      for (;;) {
        try {
          await store.range(sharedKey(0), {}, 2000);
          break;
        } catch (error) {
          if (performance.now() > limitMs) throw error;
          await sleep(20);
        }
      }
    }
    return {};
  }

  /**
   * Puts at every connection, one each `everyMs` whatever became of the ones before, until one
   * succeeds; the time from `sinceMs` (since 1970) to that success.
   */
  #firstWrite(sinceMs: number, everyMs: number, limitMs: number): Promise<object> {
    const value = new Uint8Array(workDefault.valueBytes);
    return new Promise((resolve, reject) => {
      let isOver = false;
      let attempts = 0;
      let lastError: unknown;
      const nowMs = (): number => performance.timeOrigin + performance.now();
      const turn = (): void => {
        if (isOver) return;
        if (nowMs() - sinceMs > limitMs) {
          isOver = true;
          return reject(new Error(`no write succeeded within ${limitMs} ms: ${lastError}`));
        }
        for (const store of this.#stores) {
          store.put(sharedKey(attempts++ % 1000), value, limitMs, (error) => {
            if (error !== undefined && error !== null) return void (lastError = error);
            if (isOver) return;
            isOver = true;
            resolve({ ms: nowMs() - sinceMs, attempts });
          });
        }
        setTimeout(turn, everyMs);
      };
      turn();
    });
  }
}

async function main(): Promise<void> {
  const [peer, descriptors] = process.argv.slice(2);
  let dial: Dial;
  if (peer === "covey") dial = coveyDial(await selectRuntime());
  else if (peer === "etcd" && descriptors !== undefined) {
    dial = etcdDial(new EtcdMessages(descriptors));
  } else throw new Error("usage: kv_client.ts covey | etcd DESCRIPTORS");
  const client = new Client(dial);
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line) as ClientCommand & { id: number };
    // Not awaited: marks come while the work they belong to goes on.
    client.execute(command).then(
      (result) => ({ id: command.id, result }),
      (error) => ({ id: command.id, error: error instanceof Error ? error.message : `${error}` }),
    ).then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
  }
}

main().then(() => process.exit(0), (error) => {
  console.error("kv_client:", error instanceof Error ? error.message : error);
  process.exit(1);
});
