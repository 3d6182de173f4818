/**
 * A load that is cheap enough for millions of writes and still sees each that is lost: every worker
 * owns its keys and counts upwards on them, so that what it reads can be compared with what it knows.
 */
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { Prng } from "../../../src/base/prng.ts";
import type { KvClient } from "../../../src/kv/client.ts";
import type { KvEntry } from "../../../src/kv/client_types.ts";
import { wasNotApplied } from "./outcome.ts";
import { after } from "./waiting.ts";

const keysPerWorker = 40;
/** One call in so many is a read. */
const readEvery = 12;
const valueBytes = 128;
const refusedMs = 10;
const callMs = 30_000;

/** One key, as its only writer knows it. */
interface Account {
  readonly key: string;
  /** The newest number that was put, and the newest whose put was acknowledged. */
  put: number;
  acknowledged: number;
  acknowledgedWrites: number;
  /** Puts of which nobody knows whether they happened. */
  unknown: number;
}

export interface LedgerOptions {
  readonly clients: readonly KvClient[];
  readonly workers: number;
  readonly seed: number;
  readonly name: string;
}

/** What was found wrong. */
export interface Losses {
  /** Acknowledged writes that are not there. */
  readonly lost: number;
  /** Writes that happened more often than they were made. */
  readonly twice: number;
}

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #accounts: Account[][];
  readonly #waiting: Set<() => void> = new Set();
  readonly failures: Map<string, number> = new Map();
  acknowledgedWrites = 0;
  unknown = 0;
  reads = 0;
  /** Reads that showed less than what was known. */
  wentBack = 0;
  /** Times of the newest acknowledgement of a write, and of when that write was begun. */
  #newest: { callMs: number; endMs: number } = { callMs: 0, endMs: 0 };
  #isOver = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#accounts = Array.from(
      { length: options.workers },
      (_, worker) =>
        Array.from({ length: keysPerWorker }, (_, at) => ({
          key: `${options.name}/${worker}/${at}`,
          put: 0,
          acknowledged: 0,
          acknowledgedWrites: 0,
          unknown: 0,
        })),
    );
  }

  start(): void {
    const prng = new Prng(this.#options.seed);
    const { clients } = this.#options;
    this.#work = Promise.all(
      this.#accounts.map((accounts, at) =>
        this.#worker(clients[at % clients.length], accounts, prng.fork())
      ),
    );
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#work;
  }

  /** Resolves after so many more acknowledged writes. */
  async acknowledged(more: number): Promise<void> {
    const wanted = this.acknowledgedWrites + more;
    await this.#when(() => this.acknowledgedWrites >= wanted);
  }

  /** Milliseconds until a write succeeds that was begun after this moment. */
  async recovered(sinceMs: number): Promise<number> {
    await this.#when(() => this.#newest.callMs >= sinceMs);
    return this.#newest.endMs - sinceMs;
  }

  /** Compares everything with what one node has. */
  async compare(client: KvClient): Promise<Losses> {
    let lost = 0;
    let twice = 0;
    for (const account of this.#accounts.flat()) {
      const found = await client.get(account.key, { timeoutMs: callMs });
      const value = numberIn(found);
      const version = found?.version ?? 0;
      const { acknowledged, acknowledgedWrites, unknown, put } = account;
      // An acknowledged write is lost when the value is older, or when there were too few of them.
      if (value < acknowledged || version < acknowledgedWrites) {
        lost += Math.max(1, acknowledgedWrites - version);
      }
      if (version > acknowledgedWrites + unknown || value > put) twice++;
    }
    return { lost, twice };
  }

  async #worker(client: KvClient, accounts: readonly Account[], prng: Prng): Promise<void> {
    while (!this.#isOver) {
      const account = prng.pick(accounts);
      if (prng.below(readEvery) === 0) await this.#read(client, account);
      else await this.#write(client, account);
    }
  }

  async #read(client: KvClient, account: Account): Promise<void> {
    const known = account.acknowledged;
    try {
      const value = numberIn(await client.get(account.key, { timeoutMs: callMs }));
      this.reads++;
      if (value < known || value > account.put) this.wentBack++;
    } catch (error) {
      await this.#failed(error);
    }
  }

  async #write(client: KvClient, account: Account): Promise<void> {
    const number = ++account.put;
    const callAtMs = performance.now();
    try {
      const text = `${number} `.padEnd(valueBytes, "x");
      await client.put(account.key, text, { timeoutMs: callMs });
    } catch (thrown) {
      if (!wasNotApplied(CoveyError.from(thrown))) {
        account.unknown++;
        this.unknown++;
      }
      return await this.#failed(thrown);
    }
    account.acknowledged = number;
    account.acknowledgedWrites++;
    this.acknowledgedWrites++;
    if (callAtMs >= this.#newest.callMs) {
      this.#newest = { callMs: callAtMs, endMs: performance.now() };
    }
    for (const look of this.#waiting) look();
  }

  async #failed(thrown: unknown): Promise<void> {
    const error = CoveyError.from(thrown);
    this.failures.set(error.message, (this.failures.get(error.message) ?? 0) + 1);
    // Only what a failing cluster may say; anything else is a mistake.
    const expected: readonly number[] = [Code.unavailable, Code.deadlineExceeded, Code.aborted];
    assert.ok(expected.includes(error.code), error.message);
    await after(refusedMs);
  }

  #when(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

function numberIn(entry: KvEntry | undefined): number {
  return entry === undefined ? 0 : Number(entry.text!.split(" ")[0]);
}
