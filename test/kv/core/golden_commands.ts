/** One of every command, with every field set once. */
import {
  type Command,
  openingBytes,
  type PutCommand,
  type SessionHeader,
} from "../../../src/kv/core/command.ts";
import { latin } from "./twin.ts";
import { plainRange } from "../../../src/kv/core/range.ts";

interface Named {
  readonly name: string;
  readonly session: SessionHeader | undefined;
  readonly command: Command;
}

const put = (key: string, value: string, more: Partial<PutCommand> = {}): PutCommand => ({
  kind: "put",
  key: latin(key),
  value: latin(value),
  lease: 0,
  previous: false,
  ignoreValue: false,
  ignoreLease: false,
  ...more,
});

function named(name: string, command: Command, session?: SessionHeader): Named {
  return { name, session, command };
}

export const goldenCommands: readonly Named[] = [
  named("configure", {
    kind: "configure",
    limits: { requestBytesMax: 65_536, databaseBytesMax: 2 ** 40, sessionsMax: 3 },
  }),
  named("session open", { kind: "sessionOpen" }),
  named("lease grant with id", { kind: "leaseGrant", id: 77, ttlMs: 60_000 }),
  named("lease grant without id", { kind: "leaseGrant", id: 0, ttlMs: 4_000_000_000_000 }),
  named("put", put("alpha", "one")),
  named("put over it", put("alpha", "two", { previous: true })),
  named("put with lease", put("beta", "leased", { lease: 77 })),
  named("put keeping the value", put("beta", "", { ignoreValue: true, lease: 77 })),
  named("put keeping the lease", put("beta", "again", { ignoreLease: true })),
  named("put of an empty value", put("\0\xff", "")),
  named("put in a session", put("gamma", "once"), { session: 2, sequence: 1, acknowledged: 0 }),
  named("the same again", put("gamma", "once"), { session: 2, sequence: 1, acknowledged: 0 }),
  named("acknowledging", put("gamma", "twice", { previous: true }), {
    session: 2,
    sequence: 300,
    acknowledged: 1,
  }),
  named("put that is refused", put("delta", "", { lease: 5 })),
  named("delete range", {
    kind: "deleteRange",
    key: latin("al"),
    end: latin("am"),
    previous: true,
  }),
  named("transaction", {
    kind: "transaction",
    compares: [
      {
        target: 3,
        operator: 0,
        key: latin("beta"),
        end: latin(""),
        number: 0,
        value: latin("again"),
      },
      {
        target: 2,
        operator: 1,
        key: latin("a"),
        end: latin("\0"),
        number: 1,
        value: latin(""),
      },
    ],
    success: [
      put("epsilon", "5"),
      {
        ...plainRange,
        key: latin("\0"),
        end: latin("\0"),
        limit: 2,
        sortOrder: 2,
        sortTarget: 3,
        keysOnly: true,
        modMin: 2,
        modMax: 1_000,
        createMin: 1,
        createMax: 1_000,
      },
      { kind: "transaction", compares: [], success: [put("zeta", "6")], failure: [] },
    ],
    failure: [{ kind: "deleteRange", key: latin("x"), end: latin(""), previous: false }],
  }),
  named("compact", { kind: "compact", revision: 6 }),
  named("lease checkpoint", {
    kind: "leaseCheckpoint",
    leases: [{ id: 77, remainingMs: 30_000 }, { id: 1, remainingMs: 0 }],
  }),
  named("lease grant of another", { kind: "leaseGrant", id: 78, ttlMs: 5_000 }),
  named("put with that", put("eta", "7", { lease: 78 })),
  named("lease expire", { kind: "leaseExpire", ids: [78, 79] }),
  named("lease grant of a third", { kind: "leaseGrant", id: 80, ttlMs: 5_000 }),
  named("lease revoke", { kind: "leaseRevoke", id: 80 }),
  named("session of another", { kind: "sessionOpen" }),
  named("session close", { kind: "sessionClose", session: 24 }),
];

const everything = { key: latin("\0"), end: latin("\0") };

/** The limits on what one command looks at and answers, and their refusals. */
export const boundsCommands: readonly Named[] = [
  named("configure", { kind: "configure", limits: { resultBytesMax: 400, scanKeysMax: 3 } }),
  named("put a", put("a", "value")),
  named("put b", put("b", "value")),
  named("put c", put("c", "value".repeat(20))),
  named("transaction within both", {
    kind: "transaction",
    compares: [],
    success: [put("d", "4"), { ...plainRange, ...everything, limit: 1 }],
    failure: [],
  }),
  named("a result that is too large", {
    kind: "deleteRange",
    ...everything,
    previous: true,
  }),
  named("too many keys", {
    kind: "transaction",
    compares: [],
    success: [{ kind: "deleteRange", ...everything, previous: false }],
    failure: [],
  }),
];

const opened = (fill: number, single: boolean, sequence = 1): SessionHeader => ({
  session: 0,
  sequence,
  acknowledged: sequence - 1,
  opening: { nonce: new Uint8Array(openingBytes).fill(fill), single },
});

/** Sessions that their first command opens: commands of version 2. */
export const openingCommands: readonly Named[] = [
  named("put that opens", put("a", "1"), opened(1, false)),
  named("the same again", put("a", "1"), opened(1, false)),
  named("the id", { kind: "sessionOpen" }, opened(1, false)),
  named("the next by its name", put("a", "2"), opened(1, false, 2)),
  named("a single one", { kind: "compact", revision: 2 }, opened(2, true)),
  named("another one", put("b", "1"), opened(3, true)),
  named("opened and closed", { kind: "sessionOpen" }, opened(4, false)),
  named("closed", { kind: "sessionClose", session: 0 }, opened(4, false)),
  named("one that has left", put("c", "1"), opened(4, false)),
];
