/** Random work on many groups, with crashes, torn writes and restarts, against a naive twin. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import type { Prng } from "../../../src/base/prng.ts";
import type { Entry } from "../../../src/raft/core/types.ts";
import type { WriteAheadLog } from "../../../src/raft/wal/write_ahead_log.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { entry, hardState, makeLab, meta, openOn, type Told, Twin } from "./support.ts";

before(armBan);
after(liftBan);

function randomEntries(random: Prng, from: number, most: number): Entry[] {
  const list: Entry[] = [];
  const term = random.between(1, 3);
  for (let index = from; index < from + random.between(1, most); index++) {
    const data = new Uint8Array(random.chance(0.05) ? random.below(3000) : random.below(80));
    if (random.chance(0.7)) random.fill(data);
    list.push({
      ...entry(index, term + (random.chance(0.1) ? 1 : 0), data),
      type: random.chance(0.1) ? 1 : 0,
    });
  }
  return list;
}

/** One random thing. */
function step(random: Prng, twin: Twin, log: WriteAheadLog): number {
  const ids = [...twin.state.keys()];
  if (ids.length === 0 || (ids.length < 6 && random.chance(0.05))) {
    let id = random.pick([0, 1, 127, 128, 70_000, 2 ** 40, 2 ** 53 - 10]);
    while (twin.state.has(id)) id++;
    return twin.create(log, id, random.between(1, 9));
  }
  const id = random.pick(ids);
  const group = twin.state.get(id);
  assert.ok(group !== undefined);
  const mark = group.snapshot.index;
  const last = group.entries.at(-1)?.index ?? mark;
  const state = hardState(random.below(1000), random.below(5), random.below(last + 1));
  const what = random.below(100);
  if (what < 2) return twin.remove(log, id);
  if (what < 12 && last > mark) return twin.truncate(log, id, random.between(mark, last));
  if (what < 30) {
    return twin.compact(log, id, meta(random.between(mark, last), random.between(1, 5), 1, 2));
  }
  if (what < 36) {
    const index = mark + random.below(30);
    return twin.append(log, id, {
      snapshot: meta(index, 3, 1, 2, 3),
      entries: random.chance(0.5) ? randomEntries(random, index + 1, 3) : [],
      hardState: random.chance(0.5) ? state : undefined,
    });
  }
  if (what < 45) return twin.append(log, id, { hardState: state });
  if (what < 52) {
    const known = group.hardState;
    return twin.append(log, id, {
      hardState: { ...known, commit: state.commit },
      lazy: true,
    });
  }
  const from = random.chance(0.2) ? random.between(mark + 1, last + 1) : last + 1;
  return twin.append(log, id, {
    entries: randomEntries(random, from, 6),
    hardState: random.chance(0.3) ? state : undefined,
  });
}

async function run(seed: number): Promise<number> {
  const { simulation, machine } = await makeLab({ seed, tornWriteChance: 0.5 });
  const random = simulation.random("work");
  const twin = new Twin();
  const options = {
    segmentBytes: random.pick([1024, 4096, 20_000]),
    sparesMax: random.below(3),
    batchBytesMax: random.pick([200, 1 << 20]),
  };
  let segments = 0;
  for (let life = 0; life < 6; life++) {
    const told: Told = { durable: 0, failed: [], space: [] };
    const { log, groups } = await simulation.wait(openOn(machine.runtime, options, told));
    if (life > 0) twin.check(groups, 0, `seed ${seed}, life ${life}`);
    for (let work = random.below(80); work > 0; work--) {
      step(random, twin, log);
      if (random.chance(0.3)) await simulation.run({ forMs: random.below(3) });
    }
    segments = log.segments.newest;
    assert.deepEqual(told.failed, []);
    if (random.chance(0.2)) await simulation.wait(log.close());
    const ending = random.below(3);
    if (ending === 0) machine.kill();
    else machine.crash();
    machine.restart();
    const read = await simulation.wait(openOn(machine.runtime, options));
    twin.check(read.groups, told.durable, `seed ${seed}, after life ${life}`);
    if (random.chance(0.5)) machine.crash();
    else machine.kill();
    machine.restart();
  }
  return segments;
}

test("random work, crashes and restarts against a naive twin", async () => {
  let segments = 0;
  for (let seed = 1; seed <= 60; seed++) segments += await run(seed);
  assert.ok(segments > 200, `${segments}`);
});
