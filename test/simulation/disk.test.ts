/** What a crash, a failing sync, a full disk and a wrong bit do to files on the simulator. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { equalBytes } from "../../src/base/bytes.ts";
import type { Disk, DiskError, DiskFile } from "../../src/runtime/port.ts";
import { sectorBytes } from "../../src/runtime/sim/file_node.ts";
import type { SimMachine } from "../../src/runtime/sim/machine.ts";
import {
  createSimulation,
  type Simulation,
  type SimulationOptions,
} from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";
import { pattern } from "./streams.ts";

before(armBan);
after(liftBan);

interface Setup {
  readonly simulation: Simulation;
  readonly machine: SimMachine;
  readonly disk: Disk;
}

function setUp(options: Partial<SimulationOptions> = {}, diskBytes?: number): Setup {
  const simulation = createSimulation({ seed: 1, ...options });
  const machine = simulation.machine("a", { diskBytes });
  return { simulation, machine, disk: machine.runtime.disk };
}

/** A file whose name and content are durable. */
async function durableFile(disk: Disk, path: string, bytes: Uint8Array): Promise<DiskFile> {
  const file = await disk.open(path, { read: true, write: true, create: true });
  await file.append(bytes);
  await file.sync();
  await disk.syncDirectory("/");
  return file;
}

function kindOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => "no error", (error: DiskError) => error.kind);
}

test("a crash keeps what was synced and loses the rest", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    const file = await durableFile(disk, "/log", pattern(1000));
    await file.write(new Uint8Array(10).fill(9), 5);
    await file.append(pattern(5000));
  })());
  assert.equal(machine.disk.content("/log")?.length, 6000);
  machine.crash();
  assert.deepEqual(machine.disk.content("/log"), pattern(1000));
  assert.equal(simulation.coverage.count("lostWrite"), 1);
  const { disk: again } = machine.restart();
  assert.deepEqual(await simulation.wait(again.readFile("/log", 10_000)), pattern(1000));
});

test("kill -9 loses nothing that was written, and frees the lock", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    const file = await disk.open("/log", { write: true, create: true });
    await file.append(pattern(100));
    await disk.lock("/lock");
    assert.equal(await kindOf(disk.lock("/lock")), "busy");
  })());
  machine.kill();
  const { disk: again } = machine.restart();
  assert.deepEqual(await simulation.wait(again.readFile("/log", 1000)), pattern(100));
  await simulation.wait(again.lock("/lock"));
  machine.crash();
  await simulation.wait(machine.restart().disk.lock("/lock"));
});

test("names are durable only after syncDirectory", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    await durableFile(disk, "/old", pattern(10));
    await durableFile(disk, "/gone", pattern(10));
    const file = await disk.open("/new", { write: true, create: true });
    await file.append(pattern(20));
    await file.sync();
    await disk.rename("/old", "/renamed");
    await disk.remove("/gone");
    await disk.makeDirectory("/folder/inner");
  })());
  assert.deepEqual(machine.disk.paths(), ["/new", "/renamed"]);
  machine.crash();
  assert.deepEqual(machine.disk.paths(), ["/gone", "/old"]);
  const { disk: again } = machine.restart();
  assert.equal(await simulation.wait(kindOf(again.list("/folder"))), "not-found");
  await simulation.wait((async () => {
    await again.rename("/old", "/renamed");
    await again.makeDirectory("/folder");
    await again.syncDirectory("/");
  })());
  machine.crash();
  assert.deepEqual(machine.disk.paths(), ["/gone", "/renamed"]);
  assert.deepEqual(await simulation.wait(machine.restart().disk.list("/folder")), []);
});

test("a renaming survives in whole or not at all, also between folders", async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const { simulation, machine, disk } = setUp({ seed, tornWriteChance: 1 });
    await simulation.wait((async () => {
      await disk.makeDirectory("/from");
      await disk.makeDirectory("/to");
      await disk.syncDirectory("/");
      const file = await disk.open("/from/x", { write: true, create: true });
      await file.sync();
      await disk.syncDirectory("/from");
      await disk.rename("/from/x", "/to/y");
    })());
    machine.crash();
    outcomes.add(machine.disk.paths().join());
  }
  assert.deepEqual([...outcomes].sort(), ["/from/x", "/to/y"]);
});

test("replaceFile leaves the old or the new content, wherever the crash comes", async () => {
  const [old, fresh] = [pattern(700), pattern(3000).fill(7, 100)];
  const seen = { old: 0, fresh: 0 };
  for (let seed = 0; seed < 60; seed++) {
    const { simulation, machine, disk } = setUp({ seed, tornWriteChance: 0.8 });
    await simulation.wait(disk.replaceFile("/config", old));
    const events = simulation.random("crash point").below(8);
    let replaced = false;
    disk.replaceFile("/config", fresh).then(() => replaced = true);
    const started = simulation.events;
    await simulation.run({ until: () => simulation.events - started >= events || replaced });
    machine.crash();
    const content = machine.disk.content("/config")!;
    const isOld = equalBytes(content, old);
    assert.ok(isOld || equalBytes(content, fresh), `seed ${seed}: neither old nor new`);
    assert.ok(!(replaced && isOld), `seed ${seed}: resolved and gone`);
    seen[isOld ? "old" : "fresh"]++;
  }
  assert.ok(seen.old > 5 && seen.fresh > 5, JSON.stringify(seen));
});

test("a torn write leaves a prefix or a subset of the unsynced sectors", async () => {
  const outcomes = new Set<string>();
  const synced = pattern(4 * sectorBytes);
  const unsynced = new Uint8Array(6 * sectorBytes).fill(0xee);
  for (let seed = 0; seed < 200; seed++) {
    const { simulation, machine, disk } = setUp({ seed, tornWriteChance: 1 });
    await simulation.wait((async () => {
      const file = await durableFile(disk, "/log", synced);
      await file.append(unsynced);
    })());
    machine.crash();
    const content = machine.disk.content("/log")!;
    assert.deepEqual(
      content.subarray(0, synced.length),
      synced,
      `seed ${seed}: synced data changed`,
    );
    let outcome = "";
    for (let at = synced.length; at < content.length; at += sectorBytes) {
      const sector = content.subarray(at, at + sectorBytes);
      assert.ok(sector.every((byte) => byte === sector[0]), `seed ${seed}: half a sector`);
      outcome += sector[0] === 0xee ? "X" : ".";
    }
    outcomes.add(outcome);
  }
  assert.ok(outcomes.has("") && outcomes.has("XXXXXX") && outcomes.has("X"));
  // Holes: later sectors survived where earlier ones did not.
  assert.ok([...outcomes].some((outcome) => /\.X/.test(outcome)));
  assert.ok(outcomes.size > 20, `${outcomes.size}`);
});

test("overwriting in place tears, too, and truncation may come back", async () => {
  const kinds = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const { simulation, machine, disk } = setUp({ seed, tornWriteChance: 1 });
    await simulation.wait((async () => {
      const file = await durableFile(disk, "/data", new Uint8Array(3 * sectorBytes).fill(1));
      await file.write(new Uint8Array(2 * sectorBytes).fill(2), sectorBytes);
      await file.truncate(2 * sectorBytes);
    })());
    machine.crash();
    const content = machine.disk.content("/data")!;
    const sectors = [0, 1, 2].map((sector) => content[sector * sectorBytes] ?? "-");
    kinds.add(sectors.join(""));
  }
  for (const kind of ["111", "12-", "121"]) assert.ok(kinds.has(kind), [...kinds].join(" "));
  assert.ok(![...kinds].some((kind) => kind.startsWith("2")));
});

test("a failing sync, once: what it covered is not durable even after a later success", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    const file = await durableFile(disk, "/log", pattern(sectorBytes));
    await file.append(new Uint8Array(sectorBytes).fill(1));
    machine.disk.failSync();
    assert.equal(await kindOf(file.sync()), "io");
    await file.append(new Uint8Array(sectorBytes).fill(2));
    await file.sync();
  })());
  const cached = machine.disk.content("/log")!;
  assert.equal(cached[sectorBytes], 1);
  machine.crash();
  const content = machine.disk.content("/log")!;
  assert.equal(content.length, 3 * sectorBytes);
  assert.equal(content[sectorBytes], 0);
  assert.equal(content[2 * sectorBytes], 2);
  assert.equal(simulation.coverage.count("syncFailure"), 1);
});

test("a failing sync, sticky, for one file, until it is healed", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    const file = await durableFile(disk, "/a", pattern(10));
    const other = await durableFile(disk, "/b", pattern(10));
    machine.disk.failSync({ times: Infinity, path: "/a" });
    for (let round = 0; round < 3; round++) assert.equal(await kindOf(file.sync()), "io");
    await other.sync();
    machine.disk.heal();
    await file.sync();
    machine.disk.failWrite();
    assert.equal(await kindOf(file.append(pattern(5))), "io");
    machine.disk.failRead({ times: 2 });
    assert.equal(await kindOf(file.read(new Uint8Array(5), 0)), "io");
    assert.equal(await kindOf(disk.readFile("/a", 100)), "io");
    assert.deepEqual(await disk.readFile("/a", 100), pattern(10));
  })());
  assert.equal(simulation.coverage.count("syncFailure"), 3);
});

test("a slow sync takes its time and covers only what was written before it", async () => {
  const { simulation, machine, disk } = setUp();
  let syncing = Promise.resolve();
  await simulation.wait((async () => {
    const file = await durableFile(disk, "/log", pattern(10));
    machine.disk.slowSync([1000, 1000]);
    await file.append(pattern(sectorBytes * 2));
    syncing = file.sync();
    await file.append(pattern(sectorBytes * 2));
  })());
  const before = simulation.nowMs;
  await simulation.wait(syncing);
  assert.ok(simulation.nowMs - before > 990);
  machine.crash();
  assert.equal(machine.disk.content("/log")?.length, 10 + sectorBytes * 2);
  assert.equal(simulation.coverage.count("slowSync"), 1);
});

test("a crash in the middle of a sync finds nothing of it, or some", async () => {
  for (const tornWriteChance of [0, 1]) {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const { simulation, machine, disk } = setUp({ seed, tornWriteChance });
      await simulation.wait((async () => {
        const file = await durableFile(disk, "/log", new Uint8Array(sectorBytes).fill(1));
        machine.disk.slowSync([1000, 1000]);
        await file.write(new Uint8Array(sectorBytes).fill(2), 0);
        void file.sync();
        await file.write(new Uint8Array(sectorBytes).fill(3), 0);
        void file.sync();
      })());
      await simulation.run({ forMs: 500 });
      machine.crash();
      const content = machine.disk.content("/log")!;
      assert.ok(content.every((byte) => byte === content[0]));
      outcomes.add(String(content[0]));
    }
    assert.equal([...outcomes].sort().join(), tornWriteChance === 0 ? "1" : "1,2,3");
  }
});

test("a durable write is there after a crash, and what is beside it is not", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    const plain = await durableFile(disk, "/log", new Uint8Array(4 * sectorBytes).fill(1));
    await plain.write(new Uint8Array(sectorBytes).fill(2), 0);
    const file = await disk.open("/log", { read: true, write: true, durable: true });
    await file.write(new Uint8Array(10).fill(3), 2 * sectorBytes);
    await file.append(new Uint8Array(5).fill(4));
  })());
  machine.crash();
  const expected = new Uint8Array(4 * sectorBytes + 5).fill(1);
  expected.fill(3, 2 * sectorBytes, 2 * sectorBytes + 10);
  expected.fill(4, 4 * sectorBytes);
  assert.deepEqual(machine.disk.content("/log"), expected);
});

test("a durable write meets failing writes, failing syncs and slow ones", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    await durableFile(disk, "/log", new Uint8Array(2 * sectorBytes).fill(1));
    const file = await disk.open("/log", { write: true, durable: true });
    machine.disk.failWrite();
    assert.equal(await kindOf(file.write(new Uint8Array(5).fill(2), 0)), "io");
    assert.equal(machine.disk.content("/log")![0], 1);
    machine.disk.failSync();
    assert.equal(await kindOf(file.write(new Uint8Array(5).fill(3), 0)), "io");
    assert.equal(machine.disk.content("/log")![0], 3);
    machine.disk.slowSync([1000, 1000]);
    const before = simulation.nowMs;
    await file.write(new Uint8Array(5).fill(4), sectorBytes);
    assert.ok(simulation.nowMs - before > 990);
  })());
  machine.crash();
  // The failed one is lost, although a later one of the file went through.
  assert.equal(machine.disk.content("/log")![0], 1);
  assert.equal(machine.disk.content("/log")![sectorBytes], 4);
});

test("a crash in the middle of a durable write finds nothing of it, or some sectors", async () => {
  for (const tornWriteChance of [0, 1]) {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 80; seed++) {
      const { simulation, machine, disk } = setUp({ seed, tornWriteChance });
      await simulation.wait(durableFile(disk, "/log", new Uint8Array(2 * sectorBytes).fill(1)));
      machine.disk.slowSync([1000, 1000]);
      const file = await simulation.wait(disk.open("/log", { write: true, durable: true }));
      void file.write(new Uint8Array(2 * sectorBytes).fill(2), 0);
      await simulation.run({ forMs: 500 });
      machine.crash();
      const content = machine.disk.content("/log")!;
      outcomes.add(`${content[0]}${content[sectorBytes]}`);
    }
    assert.equal([...outcomes].sort().join(), tornWriteChance === 0 ? "11" : "11,12,21,22");
  }
});

test("a full disk takes what fits, says full, and has room again after a removal", async () => {
  const { simulation, machine, disk } = setUp({}, 10_000);
  await simulation.wait((async () => {
    const file = await disk.open("/log", { read: true, write: true, create: true });
    assert.equal(await disk.freeBytes("/"), 10_000);
    await file.append(pattern(9000));
    assert.equal(await disk.freeBytes("/"), 1000);
    assert.equal(await kindOf(file.append(pattern(3000))), "full");
    assert.equal(await file.size(), 10_000);
    // What needs no room still works.
    await file.write(pattern(100), 0);
    const other = await disk.open("/other", { write: true, create: true });
    assert.equal(await kindOf(other.append(pattern(1))), "full");
    await disk.remove("/log");
    await other.append(pattern(9999));
  })());
  machine.disk.quotaBytes = 20_000;
  assert.equal(await simulation.wait(disk.freeBytes("/")), 20_000 - 9999);
  assert.equal(simulation.coverage.count("diskFull"), 2);
});

test("a bit flips where it is told, or anywhere", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait(durableFile(disk, "/log", new Uint8Array(100)));
  machine.disk.flipBit("/log", 7, 3);
  assert.equal((await simulation.wait(disk.readFile("/log", 100)))[7], 8);
  const { position, bit } = machine.disk.flipBit("/log", 50);
  assert.equal((await simulation.wait(disk.readFile("/log", 100)))[position], 1 << bit);
  machine.crash();
  assert.equal(machine.disk.content("/log")?.[7], 8);
});

test("a write that kill -9 interrupts may leave a part", async () => {
  const sizes = new Set<number>();
  for (let seed = 0; seed < 40; seed++) {
    const { simulation, machine, disk } = setUp({ seed, tornWriteChance: 0.7 });
    const file = await simulation.wait(disk.open("/log", { write: true, create: true }));
    void file.append(pattern(1000));
    machine.kill();
    await simulation.run({ forMs: 10 });
    const content = machine.disk.content("/log")!;
    assert.deepEqual(content, pattern(1000).subarray(0, content.length));
    sizes.add(content.length);
  }
  assert.ok(sizes.has(0) && sizes.size > 10, [...sizes].join(" "));
});

test("an array that changes before its write resolves is written changed", async () => {
  const { simulation, machine, disk } = setUp();
  await simulation.wait((async () => {
    const file = await disk.open("/log", { write: true, create: true });
    const bytes = new Uint8Array(10).fill(1);
    const writing = file.append(bytes);
    bytes.fill(2);
    await writing;
  })());
  assert.deepEqual(machine.disk.content("/log"), new Uint8Array(10).fill(2));
});

test("random writes, syncs and crashes against a naive twin", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const { simulation, machine } = setUp({ seed, tornWriteChance: 0.5 });
    const random = simulation.random("twin");
    await simulation.wait(durableFile(machine.runtime.disk, "/data", pattern(100)));
    /** Every content of each byte that the disk may have; index beyond the end means absent. */
    let durable = pattern(100);
    let versions = [durable];
    for (let step = 0; step < 40; step++) {
      const { disk } = machine.runtime;
      if (random.chance(0.1)) {
        machine.crash();
        const content = machine.disk.content("/data")!;
        checkAgainst(content, versions, `seed ${seed}, step ${step}`);
        durable = content;
        versions = [durable];
        machine.restart();
        continue;
      }
      const file = await simulation.wait(disk.open("/data", { read: true, write: true }));
      const current = versions[versions.length - 1];
      if (random.chance(0.4)) {
        await simulation.wait(file.sync());
        versions = [current];
      } else if (random.chance(0.3)) {
        // Durable by itself, and nothing beside it is: every older version has it from now on.
        const position = random.below(current.length);
        const bytes = new Uint8Array(random.between(1, 1500));
        random.fill(bytes);
        const through = await simulation.wait(disk.open("/data", { write: true, durable: true }));
        await simulation.wait(through.write(bytes, position));
        versions = versions.map((version) => {
          const next = new Uint8Array(Math.max(version.length, position + bytes.length));
          next.set(version);
          next.set(bytes, position);
          return next;
        });
      } else {
        const position = random.below(current.length + 600);
        const bytes = new Uint8Array(random.between(1, 1500));
        random.fill(bytes);
        await simulation.wait(file.write(bytes, position));
        const next = new Uint8Array(Math.max(current.length, position + bytes.length));
        next.set(current);
        next.set(bytes, position);
        versions.push(next);
        assert.ok(equalBytes(machine.disk.content("/data")!, next));
      }
    }
  }
});

/** Each byte must come from some version since the last sync; zero is the unwritten extension. */
function checkAgainst(content: Uint8Array, versions: Uint8Array[], what: string): void {
  const lengths = versions.map((version) => version.length);
  assert.ok(content.length >= Math.min(...lengths) && content.length <= Math.max(...lengths), what);
  for (let at = 0; at < content.length; at++) {
    const possible = versions.map((version) => version[at] ?? 0);
    if (!possible.includes(content[at])) assert.fail(`${what}: byte ${at} is ${content[at]}`);
  }
}
