/**
 * One call on its way through the members: whom it has tried, who is next, and the time that is
 * left. It goes on to another member only while it was certainly not sent to the one before.
 */
import type { DescMethod, Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Timer } from "../runtime/port.ts";
import type { CallOptions, ClientCall } from "../ttrpc/service.ts";
import type { Peer } from "./peer.ts";
import { names, type Route } from "./route.ts";

/** Most calls have nothing of all this. */
const none: readonly Peer[] = [];

export class RoutedCall {
  readonly #route: Route;
  readonly #call: ClientCall;
  readonly #input: unknown;
  readonly #startMs: number;
  readonly #key: Uint8Array | undefined;
  #timeoutMs: number | undefined;
  /** The first try gets the caller's own options. */
  #isFirst = true;
  /** Those that are not to be chosen again: they failed, or are asked last. */
  #passed: readonly Peer[] = none;
  /** Those of them with no connection yet: tried when nobody else is left. */
  #slow: readonly Peer[] = none;
  #failure: CoveyError | undefined = undefined;
  #failures: readonly Peer[] = none;
  #hasOthers = false;
  #inputTouched = false;
  #isStopped = false;
  #endWait: (() => void) | undefined = undefined;
  #endLocal: (() => void) | undefined = undefined;

  /** Throws where the call has no key and needs one. */
  constructor(route: Route, call: ClientCall) {
    this.#route = route;
    this.#call = call;
    this.#startMs = route.router.parts.clock.monotonicMs();
    this.#timeoutMs = call.options.timeoutMs ?? route.timeoutMs;
    this.#input = streamsIn(call.method) ? this.#watched(call.input) : call.input;
    this.#key = route.keyOf(call);
    route.router.counters.callsTotal++;
  }

  get options(): CallOptions {
    return this.#call.options;
  }

  /** Nobody wants the result any more: a wait ends at once. */
  stop(): void {
    this.#isStopped = true;
    this.#endWait?.();
  }

  /** A stream of answers is over, or was left. */
  streamEnded(): void {
    this.#endLocal?.();
    this.#endLocal = undefined;
  }

  /**
   * The member to call now, with a connection where one could be had soon. A promise only where
   * there is something to wait for: calls begin in the order in which they are made. Throws, or
   * rejects, when there is nobody to call. The call counts at the member from now on: whoever asks
   * has to tell it the end, by {@link Peer.end}.
   */
  next(): Peer | Promise<Peer> {
    const peer = this.#choose();
    if (peer === undefined || !this.#isReachable(peer)) return this.#reach(peer);
    this.#count(peer);
    return peer;
  }

  async #reach(chosen: Peer | undefined): Promise<Peer> {
    for (let peer = chosen;; peer = this.#choose()) {
      if (peer === undefined) {
        await this.#someone();
        continue;
      }
      this.#count(peer);
      if (this.#isReachable(peer) || await this.#connect(peer)) return peer;
      peer.end();
    }
  }

  #count(peer: Peer): void {
    peer.begin(this.#route.router.counters.callsTotal);
  }

  /** The member whose turn it is; undefined when there is none. */
  #choose(): Peer | undefined {
    const { candidates } = this.#route;
    let left = this.#passed.length === 0
      ? candidates
      : candidates.filter((peer) => !this.#passed.includes(peer));
    while (left.length > 0) {
      const peer = this.#route.choose(left, this.#key);
      this.#hasOthers = left.length > 1;
      if (!peer.isDown || candidates.length === 1) return peer;
      this.#postpone(peer);
      left = left.filter((one) => one !== peer);
    }
    this.#hasOthers = false;
    const last = this.#slow.find((peer) => candidates.includes(peer));
    this.#slow = this.#slow.filter((peer) => peer !== last);
    return last;
  }

  /** It is asked when nobody else is left. */
  #postpone(peer: Peer): void {
    this.#passed = [...this.#passed, peer];
    this.#slow = [...this.#slow, peer];
  }

  /** A call may go there now: it is connected, or there is nobody else to try instead. */
  #isReachable(peer: Peer): boolean {
    return !this.#hasOthers || peer.isReady;
  }

  /** Makes the call. Throws when there is no way to the member; then nothing was sent. */
  start(peer: Peer): Promise<Message> | AsyncIterable<Message> {
    const { counters } = this.#route.router;
    const { method } = this.#call;
    if (this.#failures.length > 0) counters.retriesTotal++;
    let options = this.#remaining();
    if (peer.isLocal) {
      counters.localCallsTotal++;
      if (streamsOut(method)) options = this.#leavable(options);
    }
    return peer.start(method, this.#input, options);
  }

  /**
   * For a stream of this process's own handlers: an iterator that waits for its next value cannot be
   * left, so that leaving has to be the end of the call's signal.
   */
  #leavable({ signal, timeoutMs, metadata, onResponseMetadata }: CallOptions): CallOptions {
    const controller = new AbortController();
    const abort = (): void => controller.abort(signal!.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
    this.#endLocal = () => {
      signal?.removeEventListener("abort", abort);
      controller.abort(left());
    };
    return { signal: controller.signal, timeoutMs, metadata, onResponseMetadata };
  }

  /** The call failed there. Throws what the caller is to get, unless another member may do it. */
  failed(peer: Peer, thrown: unknown): void {
    const error = peer.explained(CoveyError.from(thrown), this.options);
    // What a handler of this process throws says nothing about whether it ran.
    if (peer.isLocal || this.#inputTouched || !isElsewherePossible(error)) throw error;
    this.#miss(peer, error);
  }

  #miss(peer: Peer, error: CoveyError): void {
    this.#passed = [...this.#passed, peer];
    this.#failures = [...this.#failures, peer];
    this.#failure = error;
    this.#isFirst = false;
    this.#timeoutMs ??= peer.timeoutMs;
  }

  /** False when the next one is to be tried. */
  async #connect(peer: Peer): Promise<boolean> {
    this.#isFirst = false;
    const withinMs = Math.min(this.#route.connectMs, this.#leftMs());
    // Then the call itself says that its time is over.
    if (!(withinMs > 0)) return true;
    const { signal } = this.options;
    if (signal?.aborted) return true;
    const abort = (): void => this.#endWait?.();
    signal?.addEventListener("abort", abort);
    try {
      const outcome = await peer.connected(withinMs, (end) => this.#endWait = end);
      if (outcome === undefined || signal?.aborted || this.#isStopped) return true;
      if (outcome !== "slow") this.#miss(peer, outcome);
      else {
        this.#postpone(peer);
        this.#timeoutMs ??= peer.timeoutMs;
      }
    } catch (thrown) {
      this.#miss(peer, CoveyError.from(thrown));
    } finally {
      this.#endWait = undefined;
      signal?.removeEventListener("abort", abort);
    }
    return false;
  }

  /** Waits until somebody can be called. Throws when nobody can, or when time is up. */
  async #someone(): Promise<void> {
    const { router, waitMs } = this.#route;
    const { counters, parts } = router;
    if (this.#failure !== undefined) throw this.#exhausted(this.#failure);
    if (router.isClosed) throw closed();
    if (waitMs > 0) {
      this.#isFirst = false;
      await this.#offered(this.#startMs + waitMs - parts.clock.monotonicMs());
      if (this.#isStopped) throw left();
      if (router.isClosed) throw closed();
      if (this.#route.candidates.length > 0) return;
    }
    counters.unofferedTotal++;
    throw this.#route.nobody();
  }

  /** Ends when there is a candidate, the time is over, or the call is. Throws where that fails it. */
  #offered(waitMs: number): Promise<void> {
    const { router } = this.#route;
    const { signal } = this.options;
    const leftMs = this.#leftMs();
    if (signal?.aborted) return Promise.reject(canceledBy(signal));
    if (!(leftMs > 0)) return Promise.reject(expired());
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined = undefined;
      const end = (error?: CoveyError): void => {
        timer?.cancel();
        router.leave(changed);
        signal?.removeEventListener("abort", abort);
        this.#endWait = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      const changed = (): void => {
        if (router.isClosed || this.#route.candidates.length > 0) end();
        else router.wait(changed);
      };
      const abort = (): void => end(canceledBy(signal!));
      router.wait(changed);
      router.counters.waitsTotal++;
      this.#endWait = () => end();
      signal?.addEventListener("abort", abort);
      const late = leftMs <= waitMs ? expired() : undefined;
      timer = router.parts.clock.timer(Math.max(0, Math.min(waitMs, leftMs)), end, late);
    });
  }

  /** Milliseconds until the call's one deadline; Infinity without one. */
  #leftMs(): number {
    if (this.#timeoutMs === undefined) return Infinity;
    return this.#startMs + this.#timeoutMs - this.#route.router.parts.clock.monotonicMs();
  }

  #remaining(): CallOptions {
    const { options } = this;
    if (this.#isFirst && options.timeoutMs === this.#timeoutMs) return options;
    const leftMs = this.#leftMs();
    // Not a spread: the options may be a handler's context, whose parts are no fields of its own.
    return {
      signal: options.signal,
      timeoutMs: leftMs === Infinity ? undefined : leftMs,
      metadata: options.metadata,
      onResponseMetadata: options.onResponseMetadata,
    };
  }

  #exhausted(error: CoveyError): CoveyError {
    if (this.#failures.length === 1) return error;
    const message = `${error.rawMessage} (tried ${names(this.#failures)})`;
    return new CoveyError(error.code, message, { cause: error, sent: false });
  }

  /** The caller's messages; once somebody asks for them the call cannot begin anew. */
  #watched(input: unknown): AsyncIterable<unknown> {
    return {
      [Symbol.asyncIterator]: () => {
        this.#inputTouched = true;
        return (input as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      },
    };
  }
}

function streamsIn({ methodKind }: DescMethod): boolean {
  return methodKind === "client_streaming" || methodKind === "bidi_streaming";
}

function streamsOut({ methodKind }: DescMethod): boolean {
  return methodKind === "server_streaming" || methodKind === "bidi_streaming";
}

/** It certainly did not run, and it is not the call itself that is at fault. */
function isElsewherePossible({ sent, code }: CoveyError): boolean {
  return sent === false && code !== Code.canceled && code !== Code.deadlineExceeded &&
    code !== Code.invalidArgument;
}

function canceledBy(signal: AbortSignal): CoveyError {
  const reason: unknown = signal.reason;
  if (reason instanceof CoveyError) {
    return new CoveyError(reason.code, reason.rawMessage, { cause: reason, sent: false });
  }
  if (reason instanceof Error && reason.name === "TimeoutError") return expired();
  return new CoveyError(Code.canceled, "the call was canceled", { cause: reason, sent: false });
}

function expired(): CoveyError {
  return new CoveyError(Code.deadlineExceeded, "deadline exceeded", { sent: false });
}

function closed(): CoveyError {
  return new CoveyError(Code.canceled, "the node is stopping", { sent: false });
}

function left(): CoveyError {
  return new CoveyError(Code.canceled, "the stream was left", { sent: false });
}
