/** Retries apply once, whatever happens between the tries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { digest, Harness, piecesOf, restored } from "./support.ts";
import type { FailureReason, KvResult } from "../../../src/kv/core/result.ts";
import { latin } from "./twin.ts";
import { openingBytes, type PutCommand, type SessionHeader } from "../../../src/kv/core/command.ts";
import { openingsMax } from "../../../src/kv/core/sessions.ts";

const put = (key: string, value = "", previous = false): PutCommand => ({
  kind: "put",
  key: latin(key),
  value: latin(value),
  lease: 0,
  previous,
  ignoreValue: false,
  ignoreLease: false,
});

function opened(store: Harness): number {
  const result = store.apply({ kind: "sessionOpen" });
  assert.ok(result.kind === "sessionOpen");
  return result.session;
}

function refused(result: KvResult, reason: FailureReason): void {
  assert.equal(result.kind === "failure" ? result.reason : result.kind, reason);
}

test("case 24: a retried command gives the stored result and changes nothing", () => {
  const store = new Harness();
  const session = opened(store);
  const header = { session, sequence: 1, acknowledged: 0 };
  const first = store.apply(put("a", "1", true), header);
  store.apply(put("a", "2"));
  assert.deepEqual(store.apply(put("a", "1", true), header), first);
  assert.equal(store.machine.revision, 3);
});

test("a refusal is stored too: the same number never has another outcome", () => {
  const store = new Harness();
  const session = opened(store);
  const header = { session, sequence: 1, acknowledged: 0 };
  const grant = { kind: "leaseRevoke", id: 9 } as const;
  refused(store.apply(grant, header), "lease_not_found");
  store.apply({ kind: "leaseGrant", id: 9, ttlMs: 5_000 });
  refused(store.apply(grant, header), "lease_not_found");
});

test("commands of one session may come out of order", () => {
  const store = new Harness();
  const session = opened(store);
  store.apply(put("b"), { session, sequence: 2, acknowledged: 0 });
  store.apply(put("a"), { session, sequence: 1, acknowledged: 0 });
  assert.equal(store.machine.revision, 3);
  store.apply(put("a"), { session, sequence: 1, acknowledged: 0 });
  store.apply(put("b"), { session, sequence: 2, acknowledged: 0 });
  assert.equal(store.machine.revision, 3);
});

test("an acknowledged result is forgotten, and its number refused", () => {
  const store = new Harness();
  const session = opened(store);
  store.apply(put("a"), { session, sequence: 1, acknowledged: 0 });
  store.apply(put("a"), { session, sequence: 2, acknowledged: 1 });
  refused(store.apply(put("a"), { session, sequence: 1, acknowledged: 0 }), "session_stale");
  assert.equal(store.machine.revision, 3);
});

test("a session that is full refuses until its client acknowledges", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { sessionResultsMax: 2 } });
  const session = opened(store);
  for (const sequence of [1, 2]) store.apply(put("a"), { session, sequence, acknowledged: 0 });
  refused(store.apply(put("a"), { session, sequence: 3, acknowledged: 0 }), "session_full");
  assert.equal(store.apply(put("a"), { session, sequence: 3, acknowledged: 1 }).kind, "put");
});

test("case 24: an evicted session is told apart from one that never was", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { sessionsMax: 2 } });
  const first = opened(store), second = opened(store);
  store.apply(put("a"), { session: first, sequence: 1, acknowledged: 0 });
  const third = opened(store);
  refused(
    store.apply(put("a"), { session: second, sequence: 1, acknowledged: 0 }),
    "session_expired",
  );
  refused(
    store.apply(put("a"), { session: third + 1, sequence: 1, acknowledged: 0 }),
    "session_unknown",
  );
  refused(store.apply(put("a"), { session: 0, sequence: 1, acknowledged: 0 }), "session_unknown");
  assert.equal(store.apply(put("a"), { session: first, sequence: 2, acknowledged: 0 }).kind, "put");
});

test("a closed session is gone", () => {
  const store = new Harness();
  const session = opened(store);
  store.apply({ kind: "sessionClose", session });
  store.apply({ kind: "sessionClose", session });
  refused(store.apply(put("a"), { session, sequence: 1, acknowledged: 0 }), "session_expired");
});

test("the bytes of the table are bounded; the last session always stays", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { sessionBytesMax: 1_000 } });
  store.apply(put("a", "x".repeat(600)));
  const first = opened(store), second = opened(store);
  store.apply(put("a", "y".repeat(600), true), { session: first, sequence: 1, acknowledged: 0 });
  store.apply(put("a", "z".repeat(600), true), { session: second, sequence: 1, acknowledged: 0 });
  refused(
    store.apply(put("a"), { session: first, sequence: 1, acknowledged: 0 }),
    "session_expired",
  );
  assert.equal(store.machine.statistics().sessions, 1);
});

test("a large result is not kept, but that it was applied is", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { sessionResultBytesMax: 300 } });
  store.apply(put("a", "x".repeat(600)));
  const header = { session: opened(store), sequence: 1, acknowledged: 0 };
  const first = store.apply(put("a", "", true), header);
  assert.ok(first.kind === "put" && first.previous?.value.length === 600);
  refused(store.apply(put("a", "", true), header), "result_dropped");
  assert.equal(store.machine.revision, 3);
});

test("case 24: sessions and their order of leaving survive a snapshot", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { sessionsMax: 2 } });
  const first = opened(store), second = opened(store);
  const header = { session: first, sequence: 1, acknowledged: 0 };
  const result = store.apply(put("a", "1", true), header);
  const before = digest(store.machine);
  store.machine = restored(piecesOf(store.machine));
  assert.equal(digest(store.machine), before);
  assert.deepEqual(store.apply(put("a", "1", true), header), result);
  opened(store);
  refused(
    store.apply(put("a"), { session: second, sequence: 1, acknowledged: 0 }),
    "session_expired",
  );
});

test("opening and closing within a session, and a sequence of 0, are malformed", () => {
  const store = new Harness();
  const session = opened(store);
  const header = { session, sequence: 1, acknowledged: 0 };
  refused(store.apply({ kind: "sessionOpen" }, header), "malformed");
  refused(store.apply({ kind: "sessionClose", session }, header), "malformed");
  refused(store.apply(put("a"), { session, sequence: 0, acknowledged: 0 }), "malformed");
  refused(store.apply(put("a"), { session, sequence: 1, acknowledged: 1 }), "malformed");
});

const opening = (fill: number, single = false) => ({
  session: 0,
  sequence: 1,
  acknowledged: 0,
  opening: { nonce: new Uint8Array(openingBytes).fill(fill), single },
});

test("a session that its first command opens applies it once, and has an id to go on with", () => {
  const store = new Harness();
  const first = store.apply(put("a", "1", true), opening(1));
  assert.deepEqual(store.apply(put("a", "1", true), opening(1)), first);
  assert.equal(store.machine.revision, 2);
  const asked = store.apply({ kind: "sessionOpen" }, opening(1));
  assert.ok(asked.kind === "sessionOpen" && asked.session === 1);
  const { session } = asked;
  assert.deepEqual(store.apply(put("a"), { session, sequence: 1, acknowledged: 0 }), first);
  store.apply(put("a"), { session, sequence: 2, acknowledged: 1 });
  refused(store.apply(put("a"), opening(1)), "session_stale");
  // To ask for the id may come first.
  const early = store.apply({ kind: "sessionOpen" }, opening(2));
  store.apply(put("b"), opening(2));
  const late = store.apply({ kind: "sessionOpen" }, opening(2));
  assert.ok(early.kind === "sessionOpen" && late.kind === "sessionOpen");
  assert.equal(late.session, early.session);
  assert.equal(store.machine.statistics().sessions, 2);
});

test("an opening whose session has left is known, and does not open another one", () => {
  const store = new Harness();
  store.apply(put("a"), opening(1));
  store.apply({ kind: "sessionClose", session: 0 }, opening(1));
  refused(store.apply(put("a"), opening(1)), "session_expired");
  refused(store.apply({ kind: "sessionOpen" }, opening(1)), "session_expired");
  store.machine = restored(piecesOf(store.machine));
  refused(store.apply(put("a"), opening(1)), "session_expired");
  assert.equal(store.machine.revision, 2);
});

test("sessions of a single command leave before all others", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { sessionsMax: 4 } });
  const session = opened(store);
  for (let fill = 1; fill <= 9; fill++) store.apply(put(`k${fill}`), opening(fill, true));
  assert.equal(store.machine.statistics().sessions, 4);
  store.machine = restored(piecesOf(store.machine));
  assert.equal(store.apply(put("a"), { session, sequence: 1, acknowledged: 0 }).kind, "put");
  const { revision } = store.machine;
  assert.equal(store.apply(put("k9"), opening(9, true)).kind, "put");
  refused(store.apply(put("k1"), opening(1, true)), "session_expired");
  assert.equal(store.machine.revision, revision);
});

test("the newest openings are remembered, and only so many", () => {
  const store = new Harness();
  const numbered = (number: number) => {
    const header = opening(0, true);
    new DataView(header.opening.nonce.buffer).setUint32(0, number);
    return header;
  };
  for (let number = 0; number <= openingsMax; number++) store.apply(put("a"), numbered(number));
  const { revision } = store.machine;
  refused(store.apply(put("a"), numbered(1)), "session_expired");
  assert.equal(store.machine.revision, revision);
  assert.equal(store.apply(put("a"), numbered(0)).kind, "put");
  assert.equal(store.machine.revision, revision + 1);
});

test("a single command's session does not outlive its name, which alone says what it is", () => {
  const store = new Harness();
  let number = 0;
  const next = (single: boolean) => {
    const header = opening(0, single);
    new DataView(header.opening.nonce.buffer).setUint32(0, number++);
    return header;
  };
  store.apply(put("a"), next(true));
  for (let round = 0; round < openingsMax; round++) store.apply(put("a"), next(false));
  const twin = new Harness();
  twin.machine = restored(piecesOf(store.machine));
  twin.index = store.index;
  const both = (command: PutCommand, header: SessionHeader) => {
    const result = store.apply(command, header);
    assert.deepEqual(twin.apply(command, header), result);
    return result;
  };
  // The next single command makes one session too many: the same one leaves everywhere.
  assert.equal(both(put("b"), next(true)).kind, "put");
  const ids = Array.from({ length: 4_200 }, (_, at) => openingsMax + 2 - at);
  for (const session of ids) both(put("c"), { session, sequence: 2, acknowledged: 1 });
  assert.equal(digest(twin.machine), digest(store.machine));
});
