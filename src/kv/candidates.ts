/**
 * The recipe behind elections and locks, as etcd has it: each candidate makes a key below a common
 * prefix, named by its lease; the one whose key is the oldest is it, and everybody else waits for
 * the one right before it. A key goes with its lease, so nobody is waited for longer than a lease
 * lives.
 */
import { Code, CoveyError } from "../base/error.ts";
import { compareBytes, noBytes, prefixEnd } from "./core/bytes.ts";
import { concatBytes, encodeText } from "../base/bytes.ts";
import type { CallContext } from "../ttrpc/service.ts";
import { failed, type KvParts, within } from "./kv_parts.ts";
import { CompareOperator, CompareTarget, SortOrder, SortTarget } from "./core/command.ts";
import type { Compare, PutCommand, RangeRequest, TransactionCommand } from "./core/command.ts";
import type { Interval } from "./watch_index.ts";
import type { KeyValue } from "./core/result.ts";
import { plainRange } from "./core/range.ts";
import { invalid, unavailable } from "./refusal.ts";

/** A candidate's key. */
export interface Candidate {
  readonly key: Uint8Array;
  readonly createRevision: number;
}

/** How long taking back a key may take whose candidate left. */
const cleanUpMs = 5_000;

export class Candidates {
  readonly #parts: KvParts;

  constructor(parts: KvParts) {
    this.#parts = parts;
  }

  /** All keys of this election or lock. */
  intervalOf(name: Uint8Array): Interval {
    const key = concatBytes([name, encodeText("/")]);
    return { key, end: prefixEnd(key) };
  }

  /**
   * Becomes a candidate, or goes on as the one that this lease is already, and resolves when it is
   * the oldest. Rejects with `not_found` when the lease ends first, with `unavailable` when only the
   * key is gone. A caller that leaves meanwhile is no candidate any more.
   */
  async enter(
    name: Uint8Array,
    lease: number,
    value: Uint8Array,
    context: CallContext,
  ): Promise<Candidate> {
    if (name.length === 0) throw invalid("the name is empty");
    if (lease === 0) throw invalid("a lease is needed: grant one and keep it alive");
    const { key: prefix } = this.intervalOf(name);
    const key = concatBytes([prefix, encodeText(lease.toString(16))]);
    const { signal } = context;
    let candidate: Candidate | undefined;
    try {
      candidate = await this.#create(key, lease, value, context);
      // This node may not have applied it yet.
      await this.#parts.group.barrier(within(context)).catch(failed);
      await this.#wait(name, { candidate, lease }, signal);
      // An older key may have gone with this one: what was read must be what all agree on.
      await this.#parts.group.barrier(within(context)).catch(failed);
      if (!this.#exists(candidate)) throw this.#gone(lease);
      signal.throwIfAborted();
      return candidate;
    } catch (error) {
      const failure = CoveyError.from(error, Code.canceled);
      // The caller leaves at once when it is told that its time is over.
      const isLeft = signal.aborted || failure.code === Code.deadlineExceeded;
      if (candidate !== undefined && isLeft) void this.#takeBack(candidate);
      throw failure;
    }
  }

  /** Deletes the candidate's key, if it is still the same one. */
  async leave(candidate: Candidate, context: CallContext): Promise<number> {
    const { commands } = this.#parts;
    const result = await commands.propose(removal(candidate), undefined, within(context))
      .catch(failed);
    return commands.expect(result, "transaction").revision;
  }

  /** Changes the candidate's value; false when its key is gone. */
  async proclaim(
    candidate: Candidate,
    lease: number,
    value: Uint8Array,
    context: CallContext,
  ): Promise<{ readonly revision: number; readonly succeeded: boolean }> {
    const command: TransactionCommand = {
      kind: "transaction",
      compares: [createdAt(candidate)],
      success: [putOf(candidate.key, value, lease)],
      failure: [],
    };
    const { commands } = this.#parts;
    const result = await commands.propose(command, undefined, within(context)).catch(failed);
    return commands.expect(result, "transaction");
  }

  /** The oldest candidate as this node knows it. */
  async oldest(name: Uint8Array): Promise<{ revision: number; entry: KeyValue | undefined }> {
    const { key, end } = this.intervalOf(name);
    const { entries, revision } = await this.#parts.reads.range({
      ...plainRange,
      key,
      end,
      limit: 1,
      sortTarget: SortTarget.create,
      sortOrder: SortOrder.ascend,
    });
    return { revision, entry: entries[0] };
  }

  async #create(
    key: Uint8Array,
    lease: number,
    value: Uint8Array,
    context: CallContext,
  ): Promise<Candidate> {
    const { commands } = this.#parts;
    const command: TransactionCommand = {
      kind: "transaction",
      compares: [createdAt({ key, createRevision: 0 })],
      success: [putOf(key, value, lease)],
      failure: [oneKey(key)],
    };
    const result = await commands.propose(command, undefined, within(context)).catch(failed);
    const { succeeded, revision, results: [own] } = commands.expect(result, "transaction");
    if (succeeded) return { key, createRevision: revision };
    if (own?.kind !== "range" || own.entries.length === 0) throw leaseOver();
    const [entry] = own.entries;
    const candidate = { key, createRevision: entry.createRevision };
    if (compareBytes(entry.value, value) === 0) return candidate;
    if (!(await this.proclaim(candidate, lease, value, context)).succeeded) throw leaseOver();
    return candidate;
  }

  /** Until no older key is there. Keys never become older: what this node sees can only be late. */
  async #wait(
    name: Uint8Array,
    { candidate, lease }: { readonly candidate: Candidate; readonly lease: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { hub, reads } = this.#parts;
    const { key, end } = this.intervalOf(name);
    const older: RangeRequest = {
      ...plainRange,
      key,
      end,
      limit: 1,
      keysOnly: true,
      createMax: candidate.createRevision - 1,
      sortTarget: SortTarget.create,
      sortOrder: SortOrder.descend,
    };
    for (;;) {
      await hub.readable();
      const { entries, revision } = await reads.range(older);
      if (!this.#exists(candidate)) throw this.#gone(lease);
      if (entries.length === 0) return;
      const [{ key: before }] = entries;
      if (this.#changedSince([before, candidate.key], revision)) continue;
      const intervals = [before, candidate.key].map((one) => ({ key: one, end: noBytes }));
      await hub.change(intervals, signal);
    }
  }

  /**
   * Why a candidate's key is not there. A caller that lost its connection and asked another node is
   * taken back by the first one: it may come again.
   */
  #gone(lease: number): CoveyError {
    if (this.#parts.machine.lease(lease) === undefined) return leaseOver();
    return unavailable("the candidacy was taken back or deleted while waiting: try again");
  }

  #exists({ key, createRevision }: Candidate): boolean {
    return this.#entry(key)?.createRevision === createRevision;
  }

  #entry(key: Uint8Array): KeyValue | undefined {
    this.#parts.reads.assertReadable();
    const result = this.#parts.machine.range({ ...plainRange, key, end: noBytes, keysOnly: true });
    return result.kind === "range" ? result.entries[0] : undefined;
  }

  /** A long read shows what was: whether one of these keys went while it was taken. */
  #changedSince(keys: readonly Uint8Array[], revision: number): boolean {
    if (this.#parts.machine.revision === revision) return false;
    return keys.some((key) => this.#entry(key) === undefined);
  }

  async #takeBack(candidate: Candidate): Promise<void> {
    const { commands, logger } = this.#parts;
    try {
      await commands.propose(removal(candidate), undefined, { timeoutMs: cleanUpMs });
    } catch (error) {
      logger.debug("a candidate that left stays until its lease ends", { cause: error });
    }
  }
}

function createdAt({ key, createRevision }: Candidate): Compare {
  return {
    target: CompareTarget.create,
    operator: CompareOperator.equal,
    key,
    end: noBytes,
    number: createRevision,
    value: noBytes,
  };
}

function putOf(key: Uint8Array, value: Uint8Array, lease: number): PutCommand {
  return {
    kind: "put",
    key,
    value,
    lease,
    previous: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

function oneKey(key: Uint8Array): RangeRequest {
  return { ...plainRange, key, end: noBytes };
}

function removal(candidate: Candidate): TransactionCommand {
  return {
    kind: "transaction",
    compares: [createdAt(candidate)],
    success: [{ kind: "deleteRange", key: candidate.key, end: noBytes, previous: false }],
    failure: [],
  };
}

function leaseOver(): CoveyError {
  return new CoveyError(
    Code.notFound,
    "the lease ended while waiting: grant another one, keep it alive and try again",
  );
}
