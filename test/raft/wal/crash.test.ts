/**
 * Crashes everywhere: after every event of a small workload (so between, before and within all
 * writes, syncs, renames and directory syncs), with sectors lost and torn, and with processes that
 * die alone; and a last batch cut off at every byte.
 */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  entries,
  entry,
  filesOf,
  hardState,
  makeLab,
  openOn,
  placeFiles,
  type Told,
  Twin,
} from "./support.ts";
import { workload, workloadOptions as options } from "./workload.ts";

before(armBan);
after(liftBan);

interface CrashRun {
  readonly seed: number;
  readonly events: number;
  readonly how: "power" | "kill";
  readonly tornWriteChance: number;
}

/** Runs so many events, crashes, opens, goes on, and looks again. False when it came to the end. */
async function crashRun({ seed, events, how, tornWriteChance }: CrashRun): Promise<boolean> {
  const what = `seed ${seed}, ${how} after ${events} events, torn ${tornWriteChance}`;
  const lab = await makeLab({ seed, tornWriteChance });
  const { simulation, machine } = lab;
  const twin = new Twin();
  const told: Told = { durable: 0, failed: [], space: [] };
  let done = false;
  let wrong: unknown;
  workload(lab.machine.runtime, twin, told).then(() => done = true, (error) => wrong = error);
  const started = simulation.events;
  await simulation.run({
    until: () => simulation.events - started >= events || done || wrong !== undefined,
  });
  if (wrong !== undefined) throw wrong;
  const ended = done;
  if (how === "power") machine.crash();
  else machine.kill();
  machine.restart();
  // A second crash, while the log is being opened.
  if (events % 3 === 0) {
    let opened = false;
    openOn(machine.runtime, options).then(() => opened = true, (error) => wrong = error);
    const begun = simulation.events;
    const more = events % 17;
    await simulation.run({
      until: () => simulation.events - begun >= more || opened || wrong !== undefined,
    });
    if (wrong !== undefined) throw wrong;
    machine.crash();
    machine.restart();
  }
  const again = await simulation.wait(openOn(machine.runtime, options));
  twin.check(again.groups, told.durable, what);
  await simulation.wait((async () => {
    const group = twin.state.has(6) ? 6 : 9;
    if (group === 9) twin.create(again.log, 9, 9);
    const last = twin.state.get(group)?.entries.at(-1)?.index ?? 0;
    for (let index = last + 1; index < last + 12; index++) {
      await again.log.whenDurable(
        twin.append(again.log, group, { entries: [entry(index, 20, "after ".repeat(30))] }),
      );
    }
  })());
  machine.crash();
  machine.restart();
  const third = await simulation.wait(openOn(machine.runtime, options));
  twin.check(third.groups, twin.states.length - 1, `${what}, second opening`);
  return !ended;
}

for (const how of ["power", "kill"] as const) {
  for (const tornWriteChance of [0, 1]) {
    test(`${how} after every event, tearing ${tornWriteChance === 0 ? "nothing" : "writes"}`, async () => {
      let events = 0;
      for (let more = true; more; events++) {
        for (let seed = 1; seed <= (tornWriteChance === 0 ? 1 : 2); seed++) {
          more = await crashRun({ seed: events * 10 + seed, events, how, tornWriteChance });
        }
      }
      assert.ok(events > 150, `${events} places to crash`);
    });
  }
}

test("a last batch that is cut off at any byte is there whole or not at all", async () => {
  for (const filler of ["zeros", "stale"] as const) {
    const lab = await makeLab();
    const { simulation, machine } = lab;
    const twin = new Twin();
    const { log } = await simulation.wait(openOn(machine.runtime, { segmentBytes: 4096 }));
    twin.create(log, 0, 1);
    await simulation.wait(log.whenDurable(twin.append(log, 0, { entries: entries(1, 9, 1) })));
    const old = filesOf(lab);
    // Zeros in the data, so that a cut through them looks like room that was never written.
    twin.append(log, 0, {
      entries: [entry(10, 1, new Uint8Array(300)), ...entries(11, 14, 1, "the last")],
      hardState: hardState(1, 1, 9),
    });
    await simulation.wait(log.whenDurable(twin.create(log, 3, 1)));
    const fresh = filesOf(lab);
    const path = [...fresh.keys()].find((name) => name.includes("wal-")) as string;
    const before = old.get(path) as Uint8Array;
    const bytes = fresh.get(path) as Uint8Array;
    const from = bytes.findIndex((byte, at) => byte !== before[at]);
    const to = bytes.length - [...bytes].reverse().findIndex((byte) => byte !== 0);
    assert.ok(to - from > 350);
    for (let cut = from; cut <= to; cut++) {
      const torn = bytes.slice();
      if (filler === "zeros") torn.set(before.subarray(cut), cut);
      else for (let at = cut; at < torn.length; at++) torn[at] = at * 31 % 256;
      const place = await makeLab();
      await placeFiles(place, new Map([...fresh, [path, torn]]));
      const again = await place.simulation.wait(openOn(place.machine.runtime));
      const [group] = again.groups;
      const whole = cut === to;
      assert.equal(again.groups.length, whole ? 2 : 1, `cut at ${cut}`);
      assert.equal(group.entries.length, whole ? 14 : 9, `cut at ${cut}`);
      if (whole) assert.equal(again.tail, "clean");
    }
  }
});
