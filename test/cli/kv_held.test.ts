/** `covey kv watch|lease|elect|lock`: what goes on until a signal comes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { covey, type CoveyRun, objects } from "./node_support.ts";
import { type Store, withStore } from "./kv_support.ts";

/** A command that goes on until it is interrupted. */
class Held {
  readonly run: Promise<CoveyRun>;
  #shown = "";
  #wake: () => void = () => {};
  #send: ((signal: "SIGINT" | "SIGTERM") => void) | undefined = undefined;

  constructor(args: readonly string[]) {
    this.run = covey(args, {
      onOutput: (stdout, send) => {
        this.#shown = stdout;
        this.#send = send;
        this.#wake();
      },
    });
  }

  /** Resolves when it has printed so much. */
  async shows(pattern: RegExp): Promise<string> {
    const ended = this.run.then((run) => {
      assert.match(run.stdout, pattern, `it ended: ${run.stderr}`);
    });
    while (!pattern.test(this.#shown)) {
      await Promise.race([new Promise<void>((resolve) => this.#wake = resolve), ended]);
    }
    return this.#shown;
  }

  /** Once it has printed something. */
  interrupt(): Promise<CoveyRun> {
    assert.ok(this.#send !== undefined, "it has printed something");
    this.#send("SIGINT");
    return this.run;
  }
}

const held = ({ address }: Store, ...args: string[]): Held =>
  new Held(["kv", ...args, "--node", address]);

test("watch: past and new events as they happen, Ctrl-C is a good end", () =>
  withStore(async (store) => {
    await store.kv(["put", "a", "1"]);
    const text = held(store, "watch", "a", "--rev", "2");
    const json = held(store, "watch", "", "--prefix", "--rev", "2", "--prev-kv", "--json");
    await Promise.all([text.shows(/1\n/), json.shows(/\n/)]);
    await store.kv(["put", "a", "2"]);
    await store.kv(["del", "a"]);
    assert.equal(await text.shows(/DELETE/), "PUT\na\n1\nPUT\na\n2\nDELETE\na\n\n");
    await json.shows(/delete/);
    for (const one of [text, json]) {
      const { code, stderr } = await one.interrupt();
      assert.deepEqual([code, stderr], [0, ""]);
    }
    assert.partialDeepStrictEqual(objects(await json.run), [
      { event: "put", revision: 2, key: "a", value: "1", version: 1 },
      { event: "put", revision: 3, key: "a", value: "2", previous: { value: "1" } },
      { event: "delete", revision: 4, key: "a", previous: { value: "2" } },
    ]);
  }));

test("watch: a reader that goes away ends it without a word", () =>
  withStore(async ({ kv }) => {
    await kv(["put", "a", "1"]);
    await kv(["put", "a", "2"]);
    const { code, stderr } = await kv(["watch", "a", "--rev", "2"], { breaksAt: 2 });
    assert.deepEqual([code, stderr], [1, ""]);
  }));

test("lease: granted, used, kept alive, revoked", () =>
  withStore(async (store) => {
    const { kv } = store;
    const granted = await kv(["lease", "grant", "300"]);
    const id = granted.stdout.trim();
    assert.match(id, /^\d+$/);
    assert.equal(granted.stderr, `covey: lease ${id} lives 300 s unless it is kept alive\n`);
    assert.deepEqual(objects(await kv(["lease", "grant", "1m", "--id", "77", "--json"])), [
      { lease: 77, ttlMs: 60_000 },
    ]);
    assert.match((await kv(["lease", "grant", "60", "--id", "77"])).stderr, /\(already_exists\)/);
    await kv(["put", "k", "v", "--lease", id]);
    await kv(["put", "k", "w", "--ignore-lease"]);
    const left = await kv(["lease", "ttl", id, "--keys"]);
    assert.match(left.stdout, /^(300|299) s of 300 s\nk\n$/);
    assert.partialDeepStrictEqual(objects(await kv(["lease", "ttl", id, "--keys", "--json"])), [
      { lease: Number(id), ttlMs: 300_000, keys: [{ key: "k" }] },
    ]);
    const ids = (await kv(["lease", "list"])).stdout.trim().split("\n");
    assert.deepEqual(ids.sort(), ["77", id].sort());
    const once = await kv(["lease", "keep-alive", id, "--once"]);
    assert.deepEqual([once.code, once.stdout], [0, `lease ${id} lives 300 s\n`]);
    const kept = held(store, "lease", "keep-alive", id, "--json");
    await kept.shows(/ttlMs/);
    assert.equal((await kept.interrupt()).code, 0);
    const revoked = await kv(["lease", "revoke", id]);
    assert.equal(revoked.stderr, `covey: lease ${id} is revoked, and its keys are gone\n`);
    assert.equal((await kv(["get", "k"])).code, 1);
    for (const words of [["ttl", id], ["keep-alive", id], ["revoke", id]]) {
      const { code, stderr } = await kv(["lease", ...words]);
      assert.equal(code, 1);
      assert.match(stderr, /\(not_found\)\n$/);
    }
  }));

test("elect: one is elected, the next when it resigns, and others look on", () =>
  withStore(async (store) => {
    const first = held(store, "elect", "boss", "gw-1", "--ttl", "10");
    assert.match(await first.shows(/gw-1\n/), /^boss\/.*\ngw-1\n$/);
    const watcher = held(store, "elect", "boss", "--listen", "--json");
    await watcher.shows(/gw-1/);
    const second = held(store, "elect", "boss", "gw-2", "--json");
    assert.equal((await first.interrupt()).code, 0);
    await second.shows(/elected/);
    await watcher.shows(/gw-2/);
    for (const one of [second, watcher]) assert.equal((await one.interrupt()).code, 0);
    assert.deepEqual(objects(await watcher.run).map(({ value }) => value), ["gw-1", "gw-2"]);
    assert.equal((await store.kv(["lease", "list"])).stdout, "", "what held it is gone");
    const cases: [string[], RegExp][] = [
      [["elect", "boss"], /^covey: VALUE is missing: .*--listen looks on/],
      [["elect", "boss", "x", "--listen"], /^covey: --listen looks on; VALUE is for candidates/],
      [["elect", "", "x"], /^covey: NAME is empty/],
    ];
    for (const [args, line] of cases) {
      const { code, stderr } = await store.kv(args);
      assert.equal(code, 2);
      assert.match(stderr, line);
    }
  }));

test("lock: held by one; a command runs under it and gives its exit code", () =>
  withStore(async (store) => {
    const { kv } = store;
    const first = held(store, "lock", "door");
    assert.match(await first.shows(/\n/), /^door\/.*\n$/);
    const late = await kv(["lock", "door", "--timeout", "300ms"]);
    assert.equal(late.code, 1, late.stderr);
    assert.equal(
      late.stderr,
      "covey: the lock was not acquired within 300ms: somebody else may have it; --timeout says how " +
        "long to wait (deadline_exceeded)\n",
    );
    assert.equal((await first.interrupt()).code, 0);

    const script = 'echo "$COVEY_LOCK_KEY"; echo note >&2; read line; echo "$line"; exit 7';
    const ran = await kv(["lock", "door", "--ttl", "30", "--", "sh", "-c", script], {
      input: "typed\n",
    });
    assert.equal(ran.code, 7);
    assert.match(ran.stdout, /^door\/.*\ntyped\n$/);
    assert.equal(ran.stderr, "note\n");
    const none = await kv(["lock", "door", "--", "/no/such"]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^covey: \/no\/such cannot be run: /);
    assert.equal((await kv(["lock", "door", "--", "sh", "-c", "kill -9 $$"])).code, 137);
    assert.equal((await kv(["get", "door", "--prefix"])).stdout, "", "the lock is free");
    assert.equal((await kv(["lock", ""])).code, 2);
  }));

test("lock and elect: what became of the lease is told", () =>
  withStore(async (store) => {
    const lock = held(store, "lock", "door", "--ttl", "3", "--json");
    const candidate = held(store, "elect", "boss", "gw-1", "--ttl", "3", "--json");
    await Promise.all([lock.shows(/\n/), candidate.shows(/\n/)]);
    for (const id of (await store.kv(["lease", "list"])).stdout.trim().split("\n")) {
      assert.equal((await store.kv(["lease", "revoke", id])).code, 0);
    }
    const [locked, elected] = await Promise.all([lock.run, candidate.run]);
    assert.equal(
      locked.stderr,
      "covey: the lock is lost: its key is gone: the lease ended, or somebody deleted it (aborted)\n",
    );
    assert.match(
      elected.stderr,
      /^covey: no longer elected: its key is gone: the lease ended, or somebody deleted it \([0-9a-f]+\) \(aborted\)\n$/,
    );
  }));
