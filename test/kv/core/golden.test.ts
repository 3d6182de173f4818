/**
 * The formats as they are on disks out there: commands and snapshots of versions 1 and 2 and
 * results of version 1 must be read for ever. test/golden/kv/v1/README.md says how the files are made.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeCommand, encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { decodeResult, encodeResult } from "../../../src/kv/core/result_codec.ts";
import { digest, Harness, piecesOf, restored } from "./support.ts";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { boundsCommands, goldenCommands, openingCommands } from "./golden_commands.ts";

interface Golden {
  /** One entry of the log after the other: the command and what it answered, in hexadecimal. */
  readonly log: readonly {
    readonly name: string;
    readonly command: string;
    readonly result: string;
  }[];
  /** The state after the log. */
  readonly digest: string;
  readonly snapshot: string;
}

const files = [
  { name: "v1/machine.json", commands: goldenCommands },
  { name: "v1/bounds.json", commands: boundsCommands },
  { name: "v2/openings.json", commands: openingCommands },
];

function load(name: string): Golden {
  const file = fileURLToPath(new URL(`../../golden/kv/${name}`, import.meta.url).href);
  return JSON.parse(readFileSync(file, "utf8"));
}

function bytes(hex: string): Uint8Array {
  const found = fromHex(hex);
  assert.ok(found !== undefined);
  return found;
}

for (const { name: file, commands } of files) {
  test(`${file}: every command is read, applied and answered as ever`, () => {
    const golden = load(file);
    const store = new Harness();
    for (const { name, command, result } of golden.log) {
      const found = store.bytes(bytes(command));
      assert.equal(toHex(encodeResult(found)), result, name);
      assert.deepEqual(decodeResult(bytes(result)), found, name);
    }
    assert.equal(digest(store.machine), golden.digest);
  });

  test(`${file}: commands are still written with the same bytes`, () => {
    const golden = load(file);
    assert.equal(golden.log.length, commands.length);
    for (const [at, { name, command, session }] of commands.entries()) {
      assert.equal(golden.log[at].name, name);
      assert.equal(toHex(encodeCommand(command, session)), golden.log[at].command, name);
      assert.deepEqual(decodeCommand(bytes(golden.log[at].command)), { session, command }, name);
    }
  });

  test(`${file}: a snapshot is restored and written again the same`, () => {
    const golden = load(file);
    const machine = restored([bytes(golden.snapshot)]);
    assert.equal(digest(machine), golden.digest);
    assert.equal(piecesOf(machine).map(toHex).join(""), golden.snapshot);
  });
}

test("limits that a snapshot from before does not name have their defaults", () => {
  const { limits } = restored([bytes(load("v1/machine.json").snapshot)]);
  assert.equal(limits.sessionsMax, 3, "one that it names");
  const { resultBytesMax, scanKeysMax } = limits;
  assert.deepEqual([resultBytesMax, scanKeysMax], [4 * 1024 * 1024 - 256, 10_000]);
  const later = restored([bytes(load("v1/bounds.json").snapshot)]).limits;
  assert.deepEqual([later.resultBytesMax, later.scanKeysMax], [400, 3]);
});
