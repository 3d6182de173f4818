/** Files, folders and the lock. */
import assert from "node:assert/strict";
import { concatBytes } from "../../src/base/bytes.ts";
import { DiskError, type DiskFile } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pattern, sameBytes } from "./harness.ts";
import { text } from "./probe.ts";

/** Declares the cases of this area. */
export function diskCompliance(harness: Harness): void {
  fileCases(harness);
  openCases(harness);
  folderCases(harness);
  replaceCases(harness);
  failureCases(harness);
  lockCases(harness);
}

const everyday = { read: true, write: true, create: true } as const;

async function content(file: DiskFile): Promise<Uint8Array> {
  const bytes = new Uint8Array(await file.size());
  assert.equal(await file.read(bytes, 0), bytes.length);
  return bytes;
}

function fileCases(harness: Harness): void {
  compliance(harness, "disk: append, sync, read back", async ({ runtime, directory }) => {
    const { disk } = runtime;
    const file = await disk.open(`${directory}/log`, everyday);
    const bytes = pattern(300_000);
    for (let at = 0; at < bytes.length; at += 70_000) {
      await file.append(bytes.subarray(at, at + 70_000));
      await file.sync();
    }
    assert.equal(await file.size(), bytes.length);
    sameBytes(await content(file), bytes, "same handle");
    await file.close();
    sameBytes(await disk.readFile(`${directory}/log`, 1 << 20), bytes, "whole file");
    const again = await disk.open(`${directory}/log`, { read: true, write: true });
    await again.append(text("more"));
    await again.sync();
    assert.equal(await again.size(), bytes.length + 4);
    sameBytes(await content(again), concatBytes([bytes, text("more")]), "after reopening");
    await again.close();
  });

  compliance(harness, "disk: appends that overlap keep their order", async (world) => {
    const file = await world.runtime.disk.open(`${world.directory}/log`, everyday);
    const pieces = Array.from({ length: 20 }, (_, index) => pattern(1000 + index * 37, index + 1));
    await Promise.all(pieces.map((piece) => file.append(piece)));
    sameBytes(await content(file), concatBytes(pieces), "appended");
    await file.close();
  });

  compliance(harness, "disk: append goes to the end, wherever writes were", async (world) => {
    const file = await world.runtime.disk.open(`${world.directory}/log`, everyday);
    await file.append(text("first"));
    await file.write(text("beyond"), 10);
    await file.append(text("last"));
    await file.truncate(3);
    await file.append(text("!"));
    assert.deepEqual(await content(file), text("fir!"));
    await file.close();
  });

  compliance(harness, "disk: write at a position, holes are zero", async (world) => {
    const file = await world.runtime.disk.open(`${world.directory}/file`, everyday);
    await file.write(text("tail"), 8);
    await file.write(text("head"), 0);
    assert.deepEqual(
      await content(file),
      concatBytes([text("head"), new Uint8Array(4), text("tail")]),
    );
    await file.write(text("xx"), 3);
    await file.write(new Uint8Array(0), 1000);
    assert.equal(await file.size(), 12);
    const bytes = await content(file);
    assert.deepEqual(bytes.subarray(0, 5), text("heaxx"));
    await file.close();
  });

  compliance(harness, "disk: read tells how much there was", async (world) => {
    const file = await world.runtime.disk.open(`${world.directory}/file`, everyday);
    await file.append(text("0123456789"));
    const target = new Uint8Array(6).fill(0xaa);
    assert.equal(await file.read(target, 2), 6);
    assert.deepEqual(target, text("234567"));
    target.fill(0xaa);
    assert.equal(await file.read(target, 8), 2);
    assert.deepEqual(target, new Uint8Array([0x38, 0x39, 0xaa, 0xaa, 0xaa, 0xaa]));
    assert.equal(await file.read(target, 10), 0);
    assert.equal(await file.read(target, 1 << 20), 0);
    assert.equal(await file.read(new Uint8Array(0), 0), 0);
    // Into a part of an array, nothing beside it is touched.
    const whole = new Uint8Array(10).fill(0xaa);
    assert.equal(await file.read(whole.subarray(3, 6), 0), 3);
    assert.deepEqual(whole, new Uint8Array([170, 170, 170, 0x30, 0x31, 0x32, 170, 170, 170, 170]));
    await file.close();
  });

  compliance(harness, "disk: durable writes and appends are like others", async (world) => {
    const path = `${world.directory}/file`;
    const file = await world.runtime.disk.open(path, { ...everyday, durable: true });
    const bytes = pattern(200_000);
    await file.append(bytes.subarray(0, 150_000));
    await file.write(bytes.subarray(100_000), 100_000);
    sameBytes(await content(file), bytes, "written");
    await file.write(text("xx"), 3);
    await file.sync();
    assert.deepEqual((await content(file)).subarray(3, 5), text("xx"));
    await file.close();
    const readable = { write: true, durable: true };
    const only = await world.runtime.disk.open(path, readable);
    assert.equal(await kindOf(only.read(new Uint8Array(1), 0)), "io");
    await only.close();
  });

  compliance(harness, "disk: truncate cuts and grows", async (world) => {
    const file = await world.runtime.disk.open(`${world.directory}/file`, everyday);
    await file.append(text("0123456789"));
    await file.truncate(4);
    assert.deepEqual(await content(file), text("0123"));
    await file.truncate(6);
    assert.deepEqual(await content(file), concatBytes([text("0123"), new Uint8Array(2)]));
    await file.truncate(0);
    assert.equal(await file.size(), 0);
    await file.sync();
    await file.close();
  });
}

function openCases(harness: Harness): void {
  compliance(harness, "disk: what open makes of a missing and an existing file", async (world) => {
    const { disk } = world.runtime;
    const path = `${world.directory}/file`;
    assert.equal(await kindOf(disk.open(path, { read: true })), "not-found");
    assert.equal(await kindOf(disk.open(path, { write: true })), "not-found");
    const exclusive = { ...everyday, exclusive: true };
    const first = await disk.open(path, exclusive);
    await first.append(text("content"));
    await first.close();
    assert.equal(await kindOf(disk.open(path, exclusive)), "exists");
    const kept = await disk.open(path, everyday);
    assert.deepEqual(await content(kept), text("content"));
    await kept.close();
    const emptied = await disk.open(path, { ...everyday, truncate: true });
    assert.equal(await emptied.size(), 0);
    await emptied.close();
  });

  compliance(harness, "disk: a new file is for its owner only, or as asked", async (world) => {
    const { disk } = world.runtime;
    const modes: [string, number | undefined, number][] = [
      ["usual", undefined, 0o600],
      ["asked", 0o640, 0o640],
    ];
    for (const [name, mode, expected] of modes) {
      const file = await disk.open(`${world.directory}/${name}`, { ...everyday, mode });
      await file.close();
      const stat = await disk.stat(`${world.directory}/${name}`);
      assert.equal(stat.mode.toString(8), expected.toString(8), name);
      assert.equal(stat.kind, "file");
      assert.equal(stat.sizeBytes, 0);
    }
  });

  compliance(harness, "disk: readFile keeps its bound", async ({ runtime, directory }) => {
    const { disk } = runtime;
    const path = `${directory}/file`;
    await disk.replaceFile(path, pattern(10_000));
    sameBytes(await disk.readFile(path, 10_000), pattern(10_000), "at the bound");
    assert.equal(await kindOf(disk.readFile(path, 9_999)), "too-large");
    assert.equal(await kindOf(disk.readFile(path, 0)), "too-large");
    await disk.replaceFile(path, new Uint8Array(0));
    assert.equal((await disk.readFile(path, 0)).length, 0);
  });
}

function folderCases(harness: Harness): void {
  compliance(harness, "disk: list is sorted and says all", async ({ runtime, directory }) => {
    const { disk } = runtime;
    assert.deepEqual(await disk.list(directory), []);
    const names = ["b", "a", "B", "10", "9", "ä", ".hidden", "a.b"];
    for (const name of names) await disk.replaceFile(`${directory}/${name}`, text(name));
    await disk.makeDirectory(`${directory}/folder`);
    const expected = [".hidden", "10", "9", "B", "a", "a.b", "b", "folder", "ä"];
    assert.deepEqual(await disk.list(directory), expected);
  });

  compliance(harness, "disk: makeDirectory makes parents, and keeps what is", async (world) => {
    const { disk } = world.runtime;
    const path = `${world.directory}/one/two/three`;
    await disk.makeDirectory(path);
    await disk.makeDirectory(path);
    assert.equal((await disk.stat(path)).kind, "directory");
    assert.deepEqual(await disk.list(`${world.directory}/one`), ["two"]);
    await disk.makeDirectory(`${world.directory}/private`, 0o700);
    assert.equal((await disk.stat(`${world.directory}/private`)).mode, 0o700);
    await disk.replaceFile(`${world.directory}/file`, text("file"));
    assert.equal(await kindOf(disk.makeDirectory(`${world.directory}/file`)), "exists");
  });

  compliance(harness, "disk: rename replaces, remove removes", async ({ runtime, directory }) => {
    const { disk } = runtime;
    await disk.replaceFile(`${directory}/a`, text("from a"));
    await disk.replaceFile(`${directory}/b`, text("from b"));
    await disk.rename(`${directory}/a`, `${directory}/b`);
    await disk.syncDirectory(directory);
    assert.deepEqual(await disk.list(directory), ["b"]);
    assert.deepEqual(await disk.readFile(`${directory}/b`, 100), text("from a"));
    await disk.remove(`${directory}/b`);
    assert.deepEqual(await disk.list(directory), []);
    assert.equal(await kindOf(disk.remove(`${directory}/b`)), "not-found");
    assert.equal(await kindOf(disk.rename(`${directory}/a`, `${directory}/b`)), "not-found");
    await disk.makeDirectory(`${directory}/folder`);
    await disk.rename(`${directory}/folder`, `${directory}/moved`);
    assert.deepEqual(await disk.list(directory), ["moved"]);
  });

  compliance(harness, "disk: an open file outlives its name", async ({ runtime, directory }) => {
    const { disk } = runtime;
    const file = await disk.open(`${directory}/file`, everyday);
    await file.append(text("before "));
    await disk.rename(`${directory}/file`, `${directory}/moved`);
    await file.append(text("after"));
    await file.sync();
    assert.deepEqual(await disk.readFile(`${directory}/moved`, 100), text("before after"));
    await disk.remove(`${directory}/moved`);
    await file.append(text("!"));
    assert.deepEqual(await content(file), text("before after!"));
    await file.close();
    assert.deepEqual(await disk.list(directory), []);
  });

  compliance(harness, "disk: removeTree takes all of it", async ({ runtime, directory }) => {
    const { disk } = runtime;
    await disk.makeDirectory(`${directory}/tree/a/b`);
    await disk.replaceFile(`${directory}/tree/a/b/file`, text("x"));
    await disk.replaceFile(`${directory}/tree/file`, text("x"));
    await disk.replaceFile(`${directory}/beside`, text("x"));
    await disk.removeTree(`${directory}/tree`);
    await disk.syncDirectory(directory);
    assert.deepEqual(await disk.list(directory), ["beside"]);
    assert.equal(await kindOf(disk.removeTree(`${directory}/tree`)), "not-found");
  });
}

function replaceCases(harness: Harness): void {
  compliance(harness, "disk: replaceFile creates and replaces", async ({ runtime, directory }) => {
    const { disk } = runtime;
    const path = `${directory}/file`;
    await disk.replaceFile(path, text("a long first content"));
    assert.equal((await disk.stat(path)).mode, 0o600);
    await disk.replaceFile(path, text("second"), 0o644);
    assert.deepEqual(await disk.readFile(path, 100), text("second"));
    assert.equal((await disk.stat(path)).mode, 0o644);
    // Nothing is left over, and what a crash left over does no harm.
    assert.deepEqual(await disk.list(directory), ["file"]);
    const bytes = pattern(2_000_000);
    await disk.replaceFile(path, bytes);
    sameBytes(await disk.readFile(path, 1 << 22), bytes, "replaced");
  });

  compliance(harness, "disk: replaceFile twice at once leaves one of both", async (world) => {
    const { disk } = world.runtime;
    const path = `${world.directory}/file`;
    const contents = [1, 2, 3, 4].map((seed) => pattern(100_000 + seed, seed));
    await Promise.all(contents.map((bytes) => disk.replaceFile(path, bytes)));
    const left = await disk.readFile(path, 1 << 20);
    const whose = contents.find((bytes) => bytes.length === left.length);
    assert.ok(whose !== undefined, `${left.length} bytes are nobody's`);
    sameBytes(left, whose, "left");
    assert.deepEqual(await disk.list(world.directory), ["file"]);
  });

  compliance(harness, "disk: a replacement that fails leaves nothing behind", async (world) => {
    const { disk } = world.runtime;
    const { directory } = world;
    await disk.makeDirectory(`${directory}/folder`);
    const replacing = disk.replaceFile(`${directory}/folder`, text("x"));
    assert.equal(await kindOf(replacing), "is-a-directory");
    assert.deepEqual(await disk.list(directory), ["folder"]);
    // And the next one is not in its way.
    await disk.replaceFile(`${directory}/file`, text("x"));
    assert.deepEqual(await disk.list(directory), ["file", "folder"]);
  });

  compliance(
    harness,
    "disk: a closed file is an error, and closing it again is not",
    async (world) => {
      const file = await world.runtime.disk.open(`${world.directory}/file`, everyday);
      const writing = file.write(pattern(300_000), 0);
      const closing = file.close();
      // What began before is finished.
      await writing;
      await closing;
      await file.close();
      assert.equal((await world.runtime.disk.stat(`${world.directory}/file`)).sizeBytes, 300_000);
      const late = [
        () => file.read(new Uint8Array(1), 0),
        () => file.write(text("x"), 0),
        () => file.append(text("x")),
        () => file.size(),
        () => file.truncate(0),
        () => file.sync(),
      ];
      for (const call of late) assert.equal(await kindOf(call()), "io", `${call}`);
    },
  );

  compliance(harness, "disk: a reader keeps the old content", async ({ runtime, directory }) => {
    const { disk } = runtime;
    const path = `${directory}/file`;
    await disk.replaceFile(path, text("old"));
    const reader = await disk.open(path, { read: true });
    await disk.replaceFile(path, text("new content"));
    assert.deepEqual(await content(reader), text("old"));
    await reader.close();
  });
}

function failureCases(harness: Harness): void {
  compliance(harness, "disk: failures have their kind and name the path", async (world) => {
    const { disk } = world.runtime;
    const { directory } = world;
    const missing = `${directory}/missing`;
    await assert.rejects(disk.readFile(missing, 100), (error) => {
      assert.ok(error instanceof DiskError);
      assert.equal(error.kind, "not-found");
      assert.equal(error.path, missing);
      return true;
    });
    const tries = [
      () => disk.stat(missing),
      () => disk.list(missing),
      () => disk.syncDirectory(missing),
      () => disk.freeBytes(missing),
      () => disk.lock(`${missing}/lock`),
      () => disk.replaceFile(`${missing}/file`, text("x")),
      () => disk.open(`${missing}/file`, everyday),
    ];
    for (const attempt of tries) assert.equal(await kindOf(attempt()), "not-found", `${attempt}`);
    await disk.replaceFile(`${directory}/file`, text("x"));
    assert.equal(await kindOf(disk.open(`${directory}/file/x`, everyday)), "not-a-directory");
    assert.equal(await kindOf(disk.list(`${directory}/file`)), "not-a-directory");
    assert.equal(await kindOf(disk.syncDirectory(`${directory}/file`)), "not-a-directory");
    assert.equal(await kindOf(disk.open(directory, everyday)), "is-a-directory");
    assert.equal(await kindOf(disk.readFile(directory, 100)), "is-a-directory");
  });

  compliance(harness, "disk: what the system forbids is denied", async (world) => {
    assert.equal(await kindOf(world.runtime.disk.remove(world.deniedPath!())), "denied");
  }, "denied");

  compliance(harness, "disk: no room left is full", async (world) => {
    const file = await world.runtime.disk.open(world.fullPath!(), { write: true });
    const bytes = pattern(100_000);
    assert.equal(await kindOf(file.write(bytes, 0)), "full");
    assert.equal(await kindOf(file.append(bytes)), "full");
    await file.close();
  }, "fullDisk");

  compliance(harness, "disk: a medium that fails is io", async (world) => {
    const { disk } = world.runtime;
    const path = world.brokenPath!();
    const file = await disk.open(path, { read: true });
    assert.equal(await kindOf(file.read(new Uint8Array(100), 0)), "io");
    await file.close();
    assert.equal(await kindOf(disk.readFile(path, 100)), "io");
  }, "brokenDisk");

  compliance(harness, "disk: freeBytes is a number of bytes", async ({ runtime, directory }) => {
    const bytes = await runtime.disk.freeBytes(directory);
    assert.ok(Number.isInteger(bytes) && bytes > 0, `${bytes}`);
    await runtime.disk.replaceFile(`${directory}/file`, text("x"));
    assert.ok(await runtime.disk.freeBytes(`${directory}/file`) > 0);
  });
}

function lockCases(harness: Harness): void {
  compliance(harness, "disk: the lock is exclusive until released", async (world) => {
    const { disk } = world.runtime;
    const path = `${world.directory}/lock`;
    const lock = await disk.lock(path);
    assert.equal((await disk.stat(path)).mode, 0o600);
    assert.equal(await kindOf(disk.lock(path)), "busy");
    await lock.release();
    await lock.release();
    const again = await disk.lock(path);
    assert.equal(await kindOf(disk.lock(path)), "busy");
    await again.release();
  });
}
