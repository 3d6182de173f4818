/**
 * Locks and elections of a program. Getting one is the node's work and may be asked for again and
 * again; giving one back is a write like any other, applied once.
 */
import type { CallPlan, Calls, TimedCallOptions } from "./client_calls.ts";
import { Code, CoveyError } from "../base/error.ts";
import { CompactedError } from "./client_error.ts";
import type {
  CampaignOptions,
  KeyInput,
  KvCallOptions,
  KvCompare,
  KvElection,
  KvEntry,
  KvLeadership,
  KvLease,
  KvLock,
  KvRange,
  KvTransaction,
  KvTransactionResult,
  KvWatch,
  LeaseOptions,
  LockOptions,
  WatchOptions,
} from "./client_types.ts";
import { entryOf, headerOf, optionalEntry, toBytes, toWire } from "./client_wire.ts";
import type { ResponseHeader } from "../gen/covey/kv/v1/kv_pb.ts";

/** What elections and locks need of their client. */
export interface ElectionParts {
  readonly calls: Calls;
  lease(options: LeaseOptions): Promise<KvLease>;
  watch(key: Uint8Array, options: WatchOptions): KvWatch;
  range(key: Uint8Array, options: KvCallOptions): Promise<KvRange>;
  transact(
    transaction: KvTransaction,
    options?: KvCallOptions,
  ): Promise<KvTransactionResult>;
}

const waiting: CallPlan = { repeat: "always", waits: true };

/** A lease that lives as long as what hangs on it, unless the caller brought one. */
interface Hold {
  readonly id: number;
  readonly signal: AbortSignal;
  readonly own: KvLease | undefined;
}

async function holdOf(parts: ElectionParts, options: LockOptions): Promise<Hold> {
  if (options.lease !== undefined) {
    // Whatever is waited for ends with an error when that lease does.
    return { id: options.lease, signal: new AbortController().signal, own: undefined };
  }
  const { ttlMs, signal, timeoutMs } = options;
  const own = await parts.lease({ ttlMs, signal, timeoutMs });
  return { id: own.id, signal: own.signal, own };
}

/** Waits for something that needs a lease; without success the lease is given back. */
async function held<T>(
  parts: ElectionParts,
  options: LockOptions,
  wait: (hold: Hold, options: TimedCallOptions) => Promise<T>,
): Promise<T> {
  const { timeoutMs } = options;
  const untilMs = timeoutMs === undefined ? undefined : parts.calls.endOf(timeoutMs);
  const hold = await holdOf(parts, options);
  const { own } = hold;
  const signals = [hold.signal];
  if (options.signal !== undefined) signals.push(options.signal);
  try {
    return await wait(hold, { timeoutMs, untilMs, signal: AbortSignal.any(signals) });
  } catch (error) {
    // The reason why it failed counts for more than what may be wrong with giving back.
    own?.revoke().catch(() => undefined);
    throw error;
  }
}

/**
 * What is held is lost when its key is gone. At `revision` it was there.
 */
function followKey(parts: ElectionParts, key: Uint8Array, revision: number): FollowedKey {
  const lost = new AbortController();
  const stopped = new AbortController();
  const { signal } = stopped;
  const gone = (): void =>
    lost.abort(
      new CoveyError(Code.aborted, "its key is gone: the lease ended, or somebody deleted it"),
    );
  const follow = async (): Promise<void> => {
    for (let from = revision;;) {
      try {
        const { done } = await parts.watch(key, { from, withoutPuts: true, signal }).next();
        return done === true ? undefined : gone();
      } catch (error) {
        if (!(error instanceof CompactedError)) throw error;
      }
      // A stream was lost, and what came since cannot be told any more: the key says it itself.
      const now = await newest(parts, key, signal);
      if (now === undefined) continue;
      const [entry] = now.entries;
      if (entry === undefined || entry.createRevision > revision) return gone();
      from = now.revision + 1;
    }
  };
  follow().catch((error: unknown) => {
    if (!signal.aborted) lost.abort(CoveyError.from(error));
  }).finally(() => stopped.abort());
  return { signal: lost.signal, stop: () => stopped.abort() };
}

/** Undefined when no node could say in time: whoever asks tries again. */
async function newest(
  parts: ElectionParts,
  key: Uint8Array,
  signal: AbortSignal,
): Promise<KvRange | undefined> {
  try {
    return await parts.range(key, { signal });
  } catch (thrown) {
    const error = CoveyError.from(thrown);
    if (error.code === Code.unavailable || error.code === Code.deadlineExceeded) return undefined;
    throw error;
  }
}

interface FollowedKey {
  readonly signal: AbortSignal;
  stop(): void;
}

/**
 * Lost is what was held when its lease may be over, or its key is gone: also with a lease of its own,
 * because the node that was asked first may still take back a key on behalf of a call that it lost.
 */
function signalOf(
  parts: ElectionParts,
  { signal, own }: Hold,
  key: Uint8Array,
  header: ResponseHeader | undefined,
): FollowedKey {
  const followed = followKey(parts, key, headerOf(header).revision);
  if (own === undefined) return followed;
  return { signal: AbortSignal.any([signal, followed.signal]), stop: followed.stop };
}

/** Gives back what was held, by deleting its key and by ending the lease if that is its own. */
async function giveBack(
  parts: ElectionParts,
  own: KvLease | undefined,
  removal: KvTransaction,
  options: KvCallOptions | undefined,
): Promise<void> {
  if (own === undefined) await parts.transact(removal, options);
  else await own.revoke(options);
}

export async function takeLock(
  parts: ElectionParts,
  name: KeyInput,
  options: LockOptions,
): Promise<KvLock> {
  return await held(parts, options, async (hold, call) => {
    const { id, own } = hold;
    const request = { name: toBytes(name), lease: toWire(id, "lease") };
    const { key, header } = await parts.calls.run(
      call,
      waiting,
      (endpoint, attempt) => endpoint.lock.lock(request, attempt),
    );
    const isHeld: KvCompare = { keys: key, is: ">", createRevision: 0 };
    const { signal, stop } = signalOf(parts, hold, key, header);
    const unlock = (unlocking?: KvCallOptions): Promise<void> => {
      stop();
      return giveBack(parts, own, { success: [{ delete: key }] }, unlocking);
    };
    return { key, lease: id, signal, held: isHeld, unlock, [Symbol.asyncDispose]: () => unlock() };
  });
}

export class ClientElection implements KvElection {
  readonly #parts: ElectionParts;
  readonly #name: Uint8Array;

  constructor(parts: ElectionParts, name: KeyInput) {
    this.#parts = parts;
    this.#name = toBytes(name);
  }

  campaign(value: KeyInput, options: CampaignOptions = {}): Promise<KvLeadership> {
    const parts = this.#parts;
    return held(parts, options, async (hold, call) => {
      const request = {
        name: this.#name,
        lease: toWire(hold.id, "lease"),
        value: toBytes(value),
      };
      const { leader, header } = await parts.calls.run(
        call,
        waiting,
        (endpoint, attempt) => endpoint.election.campaign(request, attempt),
      );
      if (leader === undefined) throw new CoveyError(Code.internal, "the answer names no leader");
      const followed = signalOf(parts, hold, leader.key, header);
      return this.#leadership(hold, leader.key, Number(leader.rev), followed);
    });
  }

  #leadership(
    { id, own }: Hold,
    key: Uint8Array,
    revision: number,
    { signal, stop }: FollowedKey,
  ): KvLeadership {
    const parts = this.#parts;
    const isHeld: KvCompare = { keys: key, createRevision: revision };
    const resign = (options?: KvCallOptions): Promise<void> => {
      stop();
      return giveBack(parts, own, { compare: [isHeld], success: [{ delete: key }] }, options);
    };
    const proclaim = async (value: KeyInput, options?: KvCallOptions): Promise<void> => {
      const success = [{ put: key, value, lease: id }];
      const done = await parts.transact({ compare: [isHeld], success }, options);
      if (done.succeeded) return;
      throw new CoveyError(
        Code.failedPrecondition,
        "not elected any more: the candidacy was resigned, or its lease ended; campaign again",
      );
    };
    return {
      key,
      revision,
      lease: id,
      signal,
      held: isHeld,
      proclaim,
      resign,
      [Symbol.asyncDispose]: () => resign(),
    };
  }

  async leader(options: KvCallOptions = {}): Promise<KvEntry | undefined> {
    const request = { name: this.#name };
    try {
      const { kv } = await this.#parts.calls.run(
        options,
        { repeat: "always" },
        (endpoint, own) => endpoint.election.leader(request, own),
      );
      return optionalEntry(kv);
    } catch (error) {
      if (CoveyError.from(error).code === Code.notFound) return undefined;
      throw error;
    }
  }

  async *observe(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<KvEntry, void> {
    const { calls } = this.#parts;
    const signal = calls.untilClosed(options.signal);
    let told = "";
    for (let failures = 0;;) {
      const { endpoint } = calls;
      try {
        for await (const { kv } of endpoint.election.observe({ name: this.#name }, { signal })) {
          failures = 0;
          if (kv === undefined) continue;
          const entry = entryOf(kv);
          const seen = `${entry.createRevision} ${entry.modRevision}`;
          // After a loss the same one is told again.
          if (seen !== told) yield entry;
          told = seen;
        }
      } catch (thrown) {
        const error = CoveyError.from(thrown);
        if (signal.aborted || error.code !== Code.unavailable) throw error;
        calls.leave(endpoint, error);
      }
      const pauseMs = calls.pauseMs(++failures);
      if (pauseMs > 0) await calls.pause(pauseMs, signal);
    }
  }
}
