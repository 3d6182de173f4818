/** Random commands that collide often: few keys, few leases, few sessions, revisions near the edge. */
import type { Command, Compare, Envelope, Operation } from "../../../src/kv/core/command.ts";
import type { CompareOperator, CompareTarget } from "../../../src/kv/core/command.ts";
import type { DeleteRangeCommand, PutCommand, RangeRequest } from "../../../src/kv/core/command.ts";
import type { SortOrder, SortTarget, TransactionCommand } from "../../../src/kv/core/command.ts";
import { latin, type Twin } from "./twin.ts";
import { openingBytes } from "../../../src/kv/core/command.ts";
import type { Prng } from "../../../src/base/prng.ts";

const keyNames = ["a", "a\0", "aa", "ab", "b", "ba", "b\xff", "b\xff\xff", "c", "\xff", "\xff\xff"];

export class CommandSource {
  readonly #prng: Prng;
  readonly #twin: Twin;
  readonly #keys: readonly string[];
  /** The next sequence by session. */
  readonly #sequences = new Map<number, number>();

  constructor(prng: Prng, twin: Twin, keysMore: number) {
    this.#prng = prng;
    this.#twin = twin;
    const more = Array.from({ length: keysMore }, (_, at) => `k${at}`);
    this.#keys = [...keyNames, ...more];
  }

  key(): Uint8Array {
    if (this.#prng.chance(0.005)) return latin("");
    return latin(this.#prng.pick(this.#keys));
  }

  /** A single key, an interval, a prefix's end, everything from the key on. */
  end(): Uint8Array {
    switch (this.#prng.below(4)) {
      case 0:
        return latin("\0");
      case 1:
        return latin(this.#prng.pick(this.#keys));
      case 2:
        return latin(this.#prng.pick(this.#keys) + "\0");
      default:
        return latin("");
    }
  }

  #revision(): number {
    const { revision } = this.#twin;
    return Math.max(0, revision + 1 - this.#prng.below(this.#prng.chance(0.2) ? 200 : 12));
  }

  #lease(): number {
    const { leases } = this.#twin;
    if (leases.length === 0 || this.#prng.chance(0.05)) return this.#prng.below(8);
    return this.#prng.pick(leases).id;
  }

  #value(): Uint8Array {
    const length = this.#prng.chance(0.02) ? this.#prng.below(12_000) : this.#prng.below(12);
    const value = new Uint8Array(length);
    this.#prng.fill(value);
    return value;
  }

  put(): PutCommand {
    const ignoreValue = this.#prng.chance(0.1), ignoreLease = this.#prng.chance(0.1);
    const strict = !this.#prng.chance(0.1);
    return {
      kind: "put",
      key: this.key(),
      value: ignoreValue && strict ? latin("") : this.#value(),
      lease: (ignoreLease && strict) || this.#prng.chance(0.6) ? 0 : this.#lease(),
      previous: this.#prng.chance(0.3),
      ignoreValue,
      ignoreLease,
    };
  }

  deleteRange(): DeleteRangeCommand {
    const single = this.#prng.chance(0.7);
    return {
      kind: "deleteRange",
      key: this.key(),
      end: single ? latin("") : this.end(),
      previous: this.#prng.chance(0.5),
    };
  }

  range(): RangeRequest {
    const prng = this.#prng;
    const bound = (): number => prng.chance(0.15) ? this.#revision() : 0;
    const sorted = prng.chance(0.4);
    return {
      kind: "range",
      key: this.key(),
      end: this.end(),
      limit: prng.chance(0.5) ? prng.below(6) : 0,
      revision: prng.chance(0.5) ? this.#revision() : 0,
      sortOrder: (sorted ? prng.below(3) : 0) as SortOrder,
      sortTarget: (sorted ? prng.below(5) : 0) as SortTarget,
      keysOnly: prng.chance(0.2),
      countOnly: prng.chance(0.2),
      modMin: bound(),
      modMax: bound(),
      createMin: bound(),
      createMax: bound(),
    };
  }

  #compare(): Compare {
    const target = this.#prng.below(5) as CompareTarget;
    const number = target === 0
      ? this.#prng.below(4)
      : target === 4
      ? this.#lease()
      : this.#revision();
    return {
      target,
      operator: this.#prng.below(4) as CompareOperator,
      key: this.key(),
      end: this.#prng.chance(0.7) ? latin("") : this.end(),
      number: target === 3 ? 0 : number,
      value: target === 3 ? this.#value() : latin(""),
    };
  }

  transaction(depth = 0): TransactionCommand {
    const many = (most: number): number[] => Array.from({ length: this.#prng.below(most + 1) });
    const operation = (): Operation => {
      const kind = this.#prng.below(depth < 2 ? 10 : 9);
      if (kind < 5) return this.put();
      if (kind < 7) return this.deleteRange();
      return kind < 9 ? this.range() : this.transaction(depth + 1);
    };
    return {
      kind: "transaction",
      compares: many(2).map(() => this.#compare()),
      success: many(3).map(operation),
      failure: many(3).map(operation),
    };
  }

  /** One that writes nothing. */
  reading(depth = 0): TransactionCommand {
    const many = (most: number): number[] => Array.from({ length: this.#prng.below(most + 1) });
    const operation = (): Operation =>
      depth < 2 && this.#prng.chance(0.2) ? this.reading(depth + 1) : this.range();
    return {
      kind: "transaction",
      compares: many(2).map(() => this.#compare()),
      success: many(2).map(operation),
      failure: many(2).map(operation),
    };
  }

  #other(): Command {
    const prng = this.#prng;
    switch (prng.below(9)) {
      case 0:
      case 1:
        return { kind: "compact", revision: this.#revision() };
      case 2:
      case 3:
        return {
          kind: "leaseGrant",
          id: prng.chance(0.5) ? 0 : prng.below(8),
          ttlMs: prng.chance(0.1) ? 0 : prng.below(100_000),
        };
      case 4:
        return { kind: "leaseRevoke", id: this.#lease() };
      case 5:
        return { kind: "leaseExpire", ids: [this.#lease(), this.#lease()] };
      case 6:
        return {
          kind: "leaseCheckpoint",
          leases: [{ id: this.#lease(), remainingMs: prng.below(200_000) }],
        };
      case 7:
        return prng.chance(0.8)
          ? { kind: "sessionOpen" }
          : { kind: "sessionClose", session: this.#session() };
      default:
        return this.#configure();
    }
  }

  #configure(): Command {
    const prng = this.#prng;
    switch (prng.below(12)) {
      case 6:
        return { kind: "configure", limits: { resultBytesMax: prng.between(200, 30_000) } };
      case 7:
        return { kind: "configure", limits: { scanKeysMax: prng.between(1, 60) } };
      case 0:
        return { kind: "configure", limits: { databaseBytesMax: prng.between(2_000, 60_000) } };
      case 1:
        return { kind: "configure", limits: { sessionsMax: prng.between(1, 4) } };
      case 2:
        return { kind: "configure", limits: { sessionBytesMax: prng.between(500, 30_000) } };
      case 3:
        return { kind: "configure", limits: { operationsMax: prng.between(4, 20) } };
      case 4:
        return { kind: "configure", limits: { leasesMax: prng.between(1, 8) } };
      default:
        return {
          kind: "configure",
          limits: {
            sessionResultsMax: prng.between(2, 8),
            sessionResultBytesMax: prng.between(65, 500),
            keyBytesMax: prng.between(2, 20),
          },
        };
    }
  }

  #session(): number {
    const { sessions, lastSession } = this.#twin;
    if (sessions.length === 0 || this.#prng.chance(0.1)) return this.#prng.below(lastSession + 3);
    return this.#prng.pick(sessions).id;
  }

  command(): Command {
    const choice = this.#prng.below(100);
    if (choice < 45) return this.put();
    if (choice < 60) return this.deleteRange();
    if (choice < 80) return this.transaction();
    return this.#other();
  }

  /** A command, often within a session, sometimes a retry of an old sequence. */
  next(): Envelope {
    const command = this.command();
    if (this.#prng.chance(0.1)) return this.#opened(command);
    if (command.kind.startsWith("session") || this.#prng.chance(0.6)) {
      return { session: undefined, command };
    }
    const session = this.#session();
    const newest = (this.#sequences.get(session) ?? 0) + 1;
    const sequence = this.#prng.chance(0.3) ? Math.max(1, newest - this.#prng.below(4)) : newest;
    if (sequence === newest) this.#sequences.set(session, newest);
    const acknowledged = Math.max(0, sequence - this.#prng.between(1, 10));
    return { session: { session, sequence, acknowledged }, command };
  }

  /** Within a session that the command may open itself. */
  #opened(command: Command): Envelope {
    const single = this.#prng.chance(0.5);
    const nonce = new Uint8Array(openingBytes).fill(this.#prng.below(12));
    const sequence = single ? 1 : this.#prng.between(1, 4);
    const acknowledged = this.#prng.below(sequence);
    return {
      session: { session: 0, sequence, acknowledged, opening: { nonce, single } },
      command: command.kind === "sessionClose" ? { ...command, session: 0 } : command,
    };
  }
}
