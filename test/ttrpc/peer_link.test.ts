/** A link between two nodes that dial each other at the same time, over ways that differ in length. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Prng } from "../../src/base/prng.ts";
import { FrameSchema } from "../../src/gen/covey/raft/v1/transport_pb.ts";
import type { Frame, Hello } from "../../src/gen/covey/raft/v1/transport_pb.ts";
import { PeerLink } from "../../src/ttrpc/peer_link.ts";
import type { FrameInit } from "../../src/raft/wire.ts";
import { create } from "npm:@bufbuild/protobuf@2.17.0";

/** One direction of a stream: what was sent is on its way until the test lets it arrive. */
class Way implements AsyncIterable<Frame> {
  readonly #transit: (FrameInit | "end")[] = [];
  readonly #arrived: (FrameInit | "end")[] = [];
  #waiting: (() => void) | undefined = undefined;

  /** Something may arrive. */
  get isBusy(): boolean {
    return this.#transit.length > 0;
  }

  async send(frames: AsyncIterable<FrameInit>): Promise<void> {
    for await (const frame of frames) this.#transit.push(frame);
    this.#transit.push("end");
  }

  /** The next one arrives. */
  arrive(): void {
    this.#arrived.push(this.#transit.shift()!);
    this.#waiting?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Frame> {
    for (;;) {
      const next = this.#arrived.shift();
      if (next === "end") return;
      if (next !== undefined) yield create(FrameSchema, next);
      else await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }
}

interface Side {
  readonly link: PeerLink<FrameInit, Frame, Hello>;
  /** Numbers of the frames that came, in the order in which they did. */
  readonly received: number[];
  losses: number;
}

/** Two nodes and every way between them. */
function pair(
  keepsOrder: boolean,
): { readonly sides: readonly [Side, Side]; readonly ways: Way[] } {
  const ways: Way[] = [];
  const makeSide = (own: number, prefersOwn: boolean): Side => {
    const side: Side = {
      received: [],
      losses: 0,
      link: new PeerLink<FrameInit, Frame, Hello>({
        prefersOwn,
        keepsOrder,
        queueBytesMax: () => 1 << 20,
        nowMs: () => 0,
        greeting: () => ({ hello: { nodeId: `node-${own}` } }),
        helloProblem: () => undefined,
        opened: () => {},
        lost: () => side.losses++,
        received: ({ sentMicros }) => {
          if (sentMicros > 0n) side.received.push(Number(sentMicros));
        },
        dial: (outgoing) => {
          const [there, back] = [new Way(), new Way()];
          ways.push(there, back);
          void there.send(outgoing);
          void serve(sides[1 - own].link, there, back);
          return back;
        },
      }),
    };
    return side;
  };
  const sides = [makeSide(0, true), makeSide(1, false)] as const;
  return { sides, ways };
}

/** What a server does with a stream. */
async function serve(link: Side["link"], there: Way, back: Way): Promise<void> {
  const frames = there[Symbol.asyncIterator]();
  const first = await frames.next();
  if (first.done === true) return;
  await back.send(link.accept(first.value, frames, () => void frames.return(undefined)));
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Both sides send numbers, as fast as chance has it, over ways that take as long as it says. */
async function exchange(seed: number, keepsOrder: boolean): Promise<readonly Side[]> {
  const random = new Prng(seed);
  const { sides, ways } = pair(keepsOrder);
  const sent = [0, 0];
  const send = (own: number): void => {
    assert.ok(sides[own].link.send({ sentMicros: BigInt(++sent[own]) }, 10));
  };
  const step = async (): Promise<void> => {
    const busy = ways.filter(({ isBusy }) => isBusy);
    if (busy.length > 0) random.pick(busy).arrive();
    await turn();
  };
  // At the same time: neither has heard of the other's dial.
  send(0);
  send(1);
  while (sent[0] + sent[1] < 60) {
    if (random.chance(0.5)) send(random.below(2));
    await step();
  }
  for (let quiet = 0; quiet < 5; quiet++) {
    while (ways.some(({ isBusy }) => isBusy)) {
      quiet = 0;
      await step();
    }
    await turn();
  }
  for (const own of [0, 1]) {
    assert.equal(sides[own].losses, 0);
    const numbers = [...sides[1 - own].received].sort((a, b) => a - b);
    assert.deepEqual(numbers, Array.from({ length: sent[own] }, (_, at) => at + 1), "all arrive");
  }
  const streams = sides.map(({ link }) => link.stream);
  assert.ok(streams[0]?.dialled === true && streams[1]?.dialled === false, "one stream is left");
  return sides;
}

const isSorted = ({ received }: Side): boolean => received.every((number, at) => number === at + 1);

test("a link that keeps the order changes over without overtaking itself, or losing anything", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    for (const side of await exchange(seed, true)) {
      assert.ok(isSorted(side), `seed ${seed}: ${side.received}`);
    }
  }
});

test("a link that does not keep it loses nothing either, and overtakes itself", async () => {
  let overtaken = 0;
  for (let seed = 1; seed <= 60; seed++) {
    for (const side of await exchange(seed, false)) if (!isSorted(side)) overtaken++;
  }
  assert.ok(overtaken > 0, "the ways are too much alike to tell");
});
