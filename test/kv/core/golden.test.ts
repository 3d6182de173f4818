/**
 * The formats as they are on disks out there: commands, results and snapshots of version 1 must be
 * read for ever. test/golden/kv/v1/README.md says how the files are made.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeCommand, encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { decodeResult, encodeResult } from "../../../src/kv/core/result_codec.ts";
import { digest, Harness, piecesOf, restored } from "./support.ts";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { goldenCommands } from "./golden_commands.ts";

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

const file = fileURLToPath(new URL("../../golden/kv/v1/machine.json", import.meta.url).href);

function load(): Golden {
  return JSON.parse(readFileSync(file, "utf8"));
}

function bytes(hex: string): Uint8Array {
  const found = fromHex(hex);
  assert.ok(found !== undefined);
  return found;
}

test("every command of version 1 is read, applied and answered as ever", () => {
  const golden = load();
  const store = new Harness();
  for (const { name, command, result } of golden.log) {
    const found = store.bytes(bytes(command));
    assert.equal(toHex(encodeResult(found)), result, name);
    assert.deepEqual(decodeResult(bytes(result)), found, name);
  }
  assert.equal(digest(store.machine), golden.digest);
});

test("commands are still written with the bytes of version 1", () => {
  const golden = load();
  assert.equal(golden.log.length, goldenCommands.length);
  for (const [at, { name, command, session }] of goldenCommands.entries()) {
    assert.equal(golden.log[at].name, name);
    assert.equal(toHex(encodeCommand(command, session)), golden.log[at].command, name);
    assert.deepEqual(decodeCommand(bytes(golden.log[at].command)), { session, command }, name);
  }
});

test("a snapshot of version 1 is restored and written again the same", () => {
  const golden = load();
  const machine = restored([bytes(golden.snapshot)]);
  assert.equal(digest(machine), golden.digest);
  assert.equal(piecesOf(machine).map(toHex).join(""), golden.snapshot);
});
