/** The stream behind `/v1/kv/watch`, told what a store may say. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { KvWatchStream } from "../../src/admin/kv_watch_stream.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { WatchResponseSchema } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { ManualClock } from "./support.ts";

type Answer = MessageInitShape<typeof WatchResponseSchema>;

/** A stream of answers that come when the test says so. */
class Pretended {
  readonly clock = new ManualClock();
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #stop = new AbortController();
  readonly #queue: (Answer | Error | "done")[] = [];
  #wake: (() => void) | undefined = undefined;
  ends = 0;

  constructor() {
    const header = { revision: 7n };
    const stream = new KvWatchStream({
      clock: this.clock,
      heartbeatMs: 15_000,
      stream: {
        answers: { next: () => this.#next() },
        end: () => void this.ends++,
        signal: this.#stop.signal,
      },
      first: create(WatchResponseSchema, { header, watchId: 1n, created: true }),
    });
    this.reader = stream.body.getReader();
  }

  say(answer: Answer | Error | "done"): void {
    this.#queue.push(answer);
    this.#wake?.();
  }

  stop(reason: Error): void {
    this.#stop.abort(reason);
  }

  async #next(): Promise<IteratorResult<Answer>> {
    if (this.#queue.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
    const answer = this.#queue.shift()!;
    if (answer instanceof Error) throw answer;
    return answer === "done" ? { done: true, value: undefined } : { done: false, value: answer };
  }

  /** What comes next; undefined at the end. */
  async text(): Promise<string | undefined> {
    const { done, value } = await this.reader.read();
    return done ? undefined : new TextDecoder().decode(value);
  }
}

const event = (key: string, revision: bigint): NonNullable<Answer["events"]>[number] => ({
  kv: { key: encodeText(key).slice(), modRevision: revision, version: 1n },
});

const data = (text: string | undefined): Record<string, unknown>[] =>
  [...(text ?? "").matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json));

async function begun(): Promise<Pretended> {
  const stream = new Pretended();
  const first = await stream.text();
  assert.equal(first, 'retry: 2000\n\nevent: watching\ndata: {"revision":7}\n\n');
  return stream;
}

test("watch stream: a revision in pieces has its id with the last one", async () => {
  const stream = await begun();
  stream.say({
    header: { revision: 9n },
    fragment: true,
    events: [event("a", 8n), event("b", 9n), event("c", 9n)],
  });
  const first = await stream.text();
  assert.deepEqual([...(first ?? "").matchAll(/^id: (.*)$/gm)].map(([, id]) => id), ["8"]);
  assert.deepEqual(data(first).map(({ revision, more }) => [revision, more]), [
    [8, undefined],
    [9, true],
  ]);
  stream.say({ header: { revision: 9n }, fragment: true, events: [event("d", 9n)] });
  assert.ok(!(await stream.text())?.includes("id: "));
  stream.say({ header: { revision: 9n }, events: [event("e", 9n)] });
  assert.match(await stream.text() ?? "", /^id: 9\nevent: change\n/);
  // The pieces may have held all of it already: then only the number is left to say.
  stream.say({ header: { revision: 10n }, events: [] });
  assert.equal(await stream.text(), 'id: 10\nevent: progress\ndata: {"revision":10}\n\n');
});

test("watch stream: silence is filled with a comment, and nothing is lost by it", async () => {
  const stream = await begun();
  for (let beat = 0; beat < 2; beat++) {
    const silent = stream.text();
    await Promise.resolve();
    stream.clock.advance(15_000);
    assert.equal(await silent, ":\n\n");
  }
  stream.say({ header: { revision: 8n }, events: [event("a", 8n)] });
  assert.match(await stream.text() ?? "", /^id: 8\n/);
});

test("watch stream: every end is told, and ends the watch", async () => {
  const ends: [(stream: Pretended) => void, Record<string, unknown>][] = [
    [(stream) => stream.say("done"), { reason: "the watch ended" }],
    [(stream) => stream.say(new Error("broken")), { reason: "broken" }],
    [(stream) => stream.stop(new Error("the node stops")), { reason: "the node stops" }],
    [(stream) => stream.say({ canceled: true, cancelReason: "too much" }), { reason: "too much" }],
    [(stream) => stream.say({ canceled: true, compactRevision: 12n }), {
      reason: "what comes next is compacted: begin with fromRevision=12",
      compactRevision: 12,
    }],
  ];
  for (const [cause, told] of ends) {
    const stream = await begun();
    const next = stream.text();
    cause(stream);
    const text = await next;
    assert.match(text ?? "", /^event: end\n/);
    assert.deepEqual(data(text), [told]);
    assert.equal(await stream.text(), undefined);
    assert.equal(stream.ends, 1);
  }
});

test("watch stream: a client that leaves ends the watch", async () => {
  const stream = await begun();
  const waiting = stream.text();
  await stream.reader.cancel();
  assert.equal(await waiting, undefined);
  assert.equal(stream.ends, 1);
});
