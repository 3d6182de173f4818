/** The machine against its naive twin on random commands. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CommandSource } from "./commands.ts";
import { digest, leaseKeys, piecesOf, restored } from "./support.ts";
import { decodeCommand, encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { decodeResult, encodeResult } from "../../../src/kv/core/result_codec.ts";
import { failureReasons, type KvEvent, type KvResult } from "../../../src/kv/core/result.ts";
import { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import { latin, Twin } from "./twin.ts";
import { Prng } from "../../../src/base/prng.ts";
import type { RangeRequest, TransactionCommand } from "../../../src/kv/core/command.ts";
import { plainRange, RangeScan } from "../../../src/kv/core/range.ts";
import type { MachineEntry } from "../../../src/base/machine.ts";
import type { KvSnapshot } from "../../../src/kv/core/snapshot.ts";
import { resultBytes } from "../../../src/kv/core/sessions.ts";
import { hashBytes } from "../../../src/kv/core/bytes.ts";
import { toHex } from "../../../src/base/bytes.ts";
import { TransactionScan } from "../../../src/kv/core/transaction_scan.ts";

const everything = { key: latin("\0"), end: latin("\0") };

/** Reads a watch page by page. */
function allEvents(
  machine: KvMachine,
  prng: Prng,
  request: { key: Uint8Array; end: Uint8Array; from: number },
): KvEvent[] | undefined {
  const events: KvEvent[] = [];
  let from = { revision: request.from, sub: 0 };
  for (;;) {
    const page = machine.events({
      key: request.key,
      end: request.end,
      from,
      previous: true,
      eventsMax: prng.between(1, 5),
      bytesMax: prng.between(1, 200),
      changesMax: prng.between(1, 20),
    });
    if (page.kind === "compacted") return undefined;
    events.push(...page.events);
    if (page.caughtUp) return events;
    from = page.next;
  }
}

function sliced(machine: KvMachine, prng: Prng, request: RangeRequest) {
  const scan = machine.scan(request);
  if (!(scan instanceof RangeScan)) return scan;
  for (;;) {
    const result = scan.step(prng.between(1, 4));
    assert.notEqual(result, "compacted");
    assert.notEqual(result, "too_large");
    if (typeof result === "object") return result;
  }
}

/** A transaction that only reads, of the state of now and in slices. */
function slicedTransaction(machine: KvMachine, prng: Prng, command: TransactionCommand): KvResult {
  const scan = machine.scanTransaction(command);
  if (!(scan instanceof TransactionScan)) return scan;
  for (;;) {
    const result = scan.step(prng.between(1, 4));
    if (typeof result === "object") return result;
    assert.equal(result, undefined);
  }
}

/** Every event from a revision on, as changes that are walked with stops and page ends. */
function walked(machine: KvMachine, prng: Prng, revision: number): KvEvent[] | undefined {
  const events: KvEvent[] = [];
  let from = { revision, sub: 0 };
  for (;;) {
    let left = prng.between(1, 8);
    const page = machine.changes({
      from,
      changesMax: prng.between(1, 10),
      visit: (change) => {
        if (left-- === 0) return false;
        const event = change.event(true);
        assert.equal(change.keyHash(), hashBytes(event.entry.key));
        assert.equal(change.compareKey(event.entry.key), 0);
        assert.equal(change.isDelete, event.type === "delete");
        assert.equal(change.revision, event.entry.modRevision);
        events.push(event);
        return true;
      },
    });
    if (page.kind === "compacted") return undefined;
    if (page.caughtUp) return events;
    from = page.next;
  }
}

/** A snapshot that is read while applying goes on. */
interface OpenSnapshot {
  readonly source: KvSnapshot;
  readonly pieces: Uint8Array[];
  readonly digest: string;
}

/** What came up: kinds of results, refusals, and how often each part was exercised. */
type Counts = Map<string, number>;

function count(counts: Counts, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** Applies an entry; while it is not finished, reads show the state before it. */
function applySliced(machine: KvMachine, entry: MachineEntry, counts: Counts): KvResult {
  const all = { ...plainRange, ...everything };
  const watch = { ...everything, from: { revision: machine.compactRevision, sub: 0 } };
  const read = () => [
    machine.range(all),
    machine.range({ ...all, countOnly: true }),
    machine.events({
      ...watch,
      previous: true,
      eventsMax: 1_000,
      bytesMax: 1e9,
      changesMax: 1_000,
    }),
  ];
  const before = slow.has(decodedKind(entry)) ? read() : undefined;
  let result = machine.apply(entry);
  while (result === undefined) {
    if (before !== undefined) assert.deepEqual(read(), before);
    count(counts, "read in the middle of an entry");
    machine.work(10);
    result = machine.resume();
  }
  return result;
}

/** Commands that may take several slices. */
const slow = new Set(["deleteRange", "leaseRevoke", "leaseExpire", "transaction"]);

function decodedKind({ data }: MachineEntry): string {
  const envelope = decodeCommand(data);
  return typeof envelope === "string" ? envelope : envelope.command.kind;
}

function run(seed: number, commands: number, keysMore: number, counts: Counts): void {
  const prng = new Prng(seed);
  const twin = new Twin();
  let open: OpenSnapshot | undefined;
  const keysPerSlice = prng.between(1, 6);
  let machine = new KvMachine({ keysPerSlice });
  /** Has seen every entry and was never restored. */
  const whole = new KvMachine();
  const source = new CommandSource(prng.fork(), twin, keysMore);
  for (let index = 1; index <= commands; index++) {
    const envelope = source.next();
    const data = encodeCommand(envelope.command, envelope.session);
    const before = twin.revision;
    const { resultBytesMax } = twin.limits;
    const expected = twin.apply(envelope, index);
    const where = `seed ${seed}, command ${index}: ${envelope.command.kind}`;
    for (const one of [machine, whole]) {
      const found = applySliced(one, { index, term: 1, data }, counts);
      const bytes = encodeResult(found);
      if (toHex(bytes) !== toHex(encodeResult(expected))) assert.deepEqual(found, expected, where);
      assert.deepEqual(decodeResult(bytes), found, where);
    }
    assert.equal(machine.revision, twin.revision, where);
    // What a retry is given was weighed by the limits of its first try.
    if (twin.revision > before) assert.ok(resultBytes(expected) <= resultBytesMax, where);
    if (twin.revision > before) {
      assert.deepEqual(
        machine.eventsOf(twin.revision),
        twin.events(
          everything.key,
          everything.end,
          twin.revision,
        ),
        where,
      );
    }
    count(counts, expected.kind === "failure" ? expected.reason : expected.kind);
    if (prng.chance(0.3)) machine.work(prng.below(20));
    if (open === undefined && prng.chance(0.02)) {
      open = { digest: digest(machine), source: machine.snapshot(), pieces: [] };
    }
    if (open !== undefined) {
      const piece = open.source.next(prng.between(1, 1_000));
      if (piece !== undefined) open.pieces.push(piece);
      else {
        assert.equal(digest(restored(open.pieces)), open.digest, where);
        count(counts, "snapshot while applying");
        open = undefined;
      }
      if (prng.chance(0.005)) {
        open?.source.close();
        open = undefined;
      }
    }
    if (prng.chance(0.3)) compareReads(machine, twin, source, prng, where);
    if (prng.chance(0.02)) {
      const pieces = piecesOf(machine, prng.between(1, 5_000));
      machine = restored(recut(pieces, prng), keysPerSlice);
      open = undefined;
      count(counts, "restored");
      assert.equal(digest(machine), digest(whole), where);
    }
  }
  open?.source.close();
  compareState(machine, twin, `seed ${seed}, end`);
  assert.equal(digest(machine), digest(whole), `seed ${seed}, end`);
}

/** The same bytes, cut elsewhere. */
function recut(pieces: readonly Uint8Array[], prng: Prng): Uint8Array[] {
  const all = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
  const out: Uint8Array[] = [];
  for (let at = 0; at < all.length;) {
    const to = Math.min(all.length, at + prng.between(1, 700));
    out.push(all.subarray(at, to));
    at = to;
  }
  return out;
}

function compareReads(
  machine: KvMachine,
  twin: Twin,
  source: CommandSource,
  prng: Prng,
  where: string,
): void {
  const request = source.range();
  const expected = twin.range(request);
  assert.deepEqual(machine.range(request), expected, where);
  assert.deepEqual(sliced(machine, prng, request), expected, where);
  const watch = { key: source.key(), end: source.end(), from: Math.max(1, request.revision) };
  assert.deepEqual(
    allEvents(machine, prng, watch),
    twin.events(watch.key, watch.end, watch.from),
    where,
  );
  assert.deepEqual(
    walked(machine, prng, watch.from),
    twin.events(everything.key, everything.end, watch.from),
    where,
  );
  const transaction = source.reading();
  const reader = twin.clone();
  reader.weighsTransactions = false;
  const answer = reader.apply({ session: undefined, command: transaction }, 0);
  assert.deepEqual(slicedTransaction(machine, prng, transaction), answer, where);
  compareState(machine, twin, where);
}

function compareState(machine: KvMachine, twin: Twin, where: string): void {
  const statistics = machine.statistics();
  assert.equal(machine.check(), undefined, where);
  assert.equal(statistics.bytes, twin.bytes(), where);
  assert.equal(statistics.historyBytes, twin.bytes() - twin.bytes(twin.revision), where);
  assert.equal(statistics.keys, twin.state(twin.revision).length, where);
  assert.equal(statistics.compactRevision, twin.compactRevision, where);
  assert.deepEqual(machine.leases(), twin.leases, where);
  for (const { id } of twin.leases) {
    const keys = twin.state(twin.revision).filter((one) => one.lease === id);
    assert.deepEqual(leaseKeys(machine, id), keys.map((one) => latin(one.key)), where);
  }
}

/** Only bytes can be these; the fuzz tests give them. */
const notFromCommands = new Set(["malformed", "unsupported_version", "request_too_large"]);

test("case 31: random commands: every answer is the twin's, and every refusal comes up", () => {
  const counts: Counts = new Map();
  for (let seed = 1; seed <= 60; seed++) run(seed, 250, seed % 2 === 0 ? 0 : 60, counts);
  const wanted = [
    "put",
    "deleteRange",
    "transaction",
    "compact",
    "leaseGrant",
    "leaseRevoke",
    "sessionOpen",
    "done",
    "snapshot while applying",
    "restored",
    "read in the middle of an entry",
    ...failureReasons.filter((reason) => !notFromCommands.has(reason)),
  ];
  assert.deepEqual(wanted.filter((name) => !counts.has(name)), [], "never came up");
});

test("long random runs: every answer is the twin's", () => {
  for (let seed = 1; seed <= 3; seed++) run(seed, 1_200, 400, new Map());
});
