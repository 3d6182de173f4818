/** The two machines with events that are written down and output that is read as frames. */
import { concatBytes } from "../../../src/base/bytes.ts";
import type { Code } from "../../../src/base/error.ts";
import { ClientCall, ClientConnection } from "../../../src/ttrpc/core/client.ts";
import type { ClientEvents } from "../../../src/ttrpc/core/client.ts";
import { CallKind } from "../../../src/ttrpc/core/call.ts";
import type { ConnectionLimits, LimitName } from "../../../src/ttrpc/core/limits.ts";
import {
  requestMetadata,
  requestPrefix,
  RequestReader,
  ResponseReader,
  type Status,
} from "../../../src/ttrpc/core/envelope.ts";
import { BufferPool } from "../../../src/ttrpc/core/output.ts";
import { type Route, RouteTable } from "../../../src/ttrpc/core/routes.ts";
import { type ServerCall, ServerConnection } from "../../../src/ttrpc/core/server.ts";
import type { ServerEvents } from "../../../src/ttrpc/core/server.ts";
import { Slab } from "../../../src/ttrpc/core/slab.ts";
import { rpcLimitsDefault } from "../../../src/ttrpc/limits.ts";
import {
  type Frame,
  frame,
  none,
  parseFrames,
  readResponse,
  request,
  response,
  show,
} from "./frames.ts";

/** The four kinds under one service, `s/u`, `s/c`, `s/d` and `s/b`. */
export const methods: Readonly<Record<string, CallKind>> = {
  u: CallKind.unary,
  c: CallKind.clientStreaming,
  d: CallKind.serverStreaming,
  b: CallKind.bidi,
};

export function routeTable(): RouteTable<string> {
  const routes: Route<string>[] = Object.entries(methods).map(([method, kind]) => ({
    service: "s",
    method,
    kind,
    target: method,
  }));
  return new RouteTable(routes);
}

export interface MachineOptions {
  readonly limits?: Partial<ConnectionLimits>;
  readonly strict?: boolean;
  readonly extensions?: boolean;
  /** What a server serves; default {@link routeTable}. */
  readonly routes?: RouteTable<string>;
}

type ServerCallOf = ServerCall<string>;

export class ServerHarness implements ServerEvents<string> {
  readonly machine: ServerConnection<string>;
  /** Everything that was told, one line each. */
  readonly log: string[] = [];
  readonly calls: ServerCallOf[] = [];
  /** Request messages of unary and server-streaming calls, in the order of {@link calls}. */
  readonly payloads: Uint8Array[] = [];
  readonly failures: { readonly call: ServerCallOf; readonly status: Status }[] = [];
  readonly limitHits: LimitName[] = [];
  brokenReason: string | undefined = undefined;
  nowMs = 0;
  /** Runs inside the call event, as a handler that answers at once does. */
  onCall: ((call: ServerCallOf) => void) | undefined = undefined;

  constructor(options: MachineOptions = {}) {
    const table = options.routes ?? routeTable();
    this.machine = new ServerConnection({
      limits: { ...rpcLimitsDefault, ...options.limits },
      pool: new BufferPool(4096, 4),
      slab: new Slab(),
      reader: new RequestReader(),
      routes: () => table,
      strictStreamIds: options.strict ?? false,
      extensions: options.extensions ?? true,
    }, this);
  }

  receive(...chunks: readonly Uint8Array[]): this {
    for (const chunk of chunks) this.machine.receive(chunk, this.nowMs);
    return this;
  }

  /** Takes out all that waits to be written, as a socket without end would. */
  frames(): Frame[] {
    return parseFrames(takeOutput(this.machine));
  }

  shown(): string[] {
    return this.frames().map(show);
  }

  /** Takes every message of a call that is there. */
  messages(call: ServerCallOf): Uint8Array[] {
    return takeAll(this.machine, call, this.nowMs);
  }

  /** Agrees to the extensions with a client that is played here; its hello has this id. */
  agree(windowBytes = 1 << 20, id = 1): this {
    const metadata = [offer(windowBytes)];
    this.receive(request(id, 0, { service: "grpc.health.v1.Health", method: "Check", metadata }));
    this.frames();
    this.receive(pong);
    this.log.length = 0;
    return this;
  }

  call(call: ServerCallOf, buffer: Uint8Array, start: number, end: number): void {
    this.log.push(`call ${call.id} ${call.route.method}`);
    this.calls.push(call);
    this.payloads.push(buffer.slice(start, end));
    this.onCall?.(call);
  }

  refused(code: Code): void {
    this.log.push(`refused ${code}`);
  }

  readable(call: ServerCallOf): void {
    this.log.push(`readable ${call.id}`);
  }

  writable(call: ServerCallOf): void {
    this.log.push(`writable ${call.id}`);
  }

  failed(call: ServerCallOf, status: Status): void {
    this.log.push(`failed ${call.id} ${status.code}`);
    this.failures.push({ call, status });
  }

  broken(reason: string): void {
    this.log.push("broken");
    this.brokenReason = reason;
  }

  limitHit(limit: LimitName): void {
    this.limitHits.push(limit);
  }
}

export class ClientHarness implements ClientEvents {
  readonly machine: ClientConnection;
  readonly log: string[] = [];
  readonly results: Map<ClientCall, Uint8Array> = new Map();
  readonly statuses: Map<ClientCall, Status> = new Map();
  readonly failures: Map<ClientCall, Status> = new Map();
  /** What `wasSent` said when the call failed. */
  readonly sent: Map<ClientCall, boolean> = new Map();
  readonly metadata: Map<ClientCall, readonly string[]> = new Map();
  /** Streams that ended well. */
  readonly endings: ClientCall[] = [];
  readonly limitHits: LimitName[] = [];
  brokenReason: string | undefined = undefined;
  nowMs = 0;

  constructor(options: MachineOptions = {}) {
    this.machine = new ClientConnection({
      limits: { ...rpcLimitsDefault, ...options.limits },
      pool: new BufferPool(4096, 4),
      slab: new Slab(),
      reader: new ResponseReader(),
    }, this);
  }

  receive(...chunks: readonly Uint8Array[]): this {
    for (const chunk of chunks) this.machine.receive(chunk, this.nowMs);
    return this;
  }

  frames(): Frame[] {
    return parseFrames(takeOutput(this.machine));
  }

  shown(): string[] {
    return this.frames().map(show);
  }

  messages(call: ClientCall): Uint8Array[] {
    return takeAll(this.machine, call, this.nowMs);
  }

  /** Starts a call of `s/METHOD`; the answer is the reason when it cannot begin. */
  begin(method: string, options: {
    payload?: Uint8Array;
    timeoutNanos?: bigint;
    metadata?: readonly string[];
    deadlineMs?: number;
  } = {}): ClientCall {
    const call = new ClientCall(methods[method]);
    if (options.deadlineMs !== undefined) call.deadlineMs = options.deadlineMs;
    const nanos = BigInt.asUintN(64, options.timeoutNanos ?? 0n);
    const refusal = this.machine.start(
      call,
      requestPrefix("s", method),
      options.payload ?? none,
      Number(nanos & 0xffffffffn) | 0,
      Number(nanos >> 32n) | 0,
      requestMetadata(options.metadata ?? []),
    );
    if (refusal !== undefined) {
      this.failures.set(call, refusal);
      this.sent.set(call, false);
      this.log.push(`refused ${refusal.code}`);
    }
    return call;
  }

  /** Agrees to the extensions with a server that is played here. */
  agree(windowBytes = 1 << 20): this {
    this.machine.hello();
    this.frames();
    const extensions = { version: 1, windowBytes, metadata: [] };
    this.receive(response(1, { status: { code: 12, message: "no" }, extensions }));
    // What is left is the confirmation.
    this.frames();
    return this;
  }

  result(
    call: ClientCall,
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata: readonly string[] | undefined,
  ): void {
    this.log.push(`result ${call.id}`);
    this.results.set(call, buffer.slice(start, end));
    if (metadata !== undefined) this.metadata.set(call, metadata);
  }

  streamEnded(call: ClientCall): void {
    this.log.push(`ended ${call.id}`);
    this.endings.push(call);
  }

  status(call: ClientCall, status: Status, metadata: readonly string[] | undefined): void {
    this.log.push(`status ${call.id} ${status.code}`);
    this.statuses.set(call, status);
    if (metadata !== undefined) this.metadata.set(call, metadata);
  }

  failed(call: ClientCall, status: Status): void {
    this.log.push(`failed ${call.id} ${status.code}`);
    this.failures.set(call, status);
    this.sent.set(call, this.machine.wasSent(call));
  }

  readable(call: ClientCall): void {
    this.log.push(`readable ${call.id}`);
  }

  writable(call: ClientCall): void {
    this.log.push(`writable ${call.id}`);
  }

  ready(): void {
    this.log.push("ready");
  }

  goaway(): void {
    this.log.push("goaway");
  }

  broken(reason: string): void {
    this.log.push("broken");
    this.brokenReason = reason;
  }

  limitHit(limit: LimitName): void {
    this.limitHits.push(limit);
  }
}

/** What a machine's output holds, as if a socket took `most` bytes of it. */
export function takeOutput(
  machine: ServerConnection<string> | ClientConnection,
  most = Infinity,
): Uint8Array {
  const chunks: Uint8Array[] = [];
  let taken = 0;
  while (machine.output.queuedBytes > 0 && taken < most) {
    const { start } = machine.output;
    const length = Math.min(machine.output.queuedBytes, most - taken);
    chunks.push(machine.output.bytes.slice(start, start + length));
    taken += length;
    machine.output.consume(length);
    machine.drained();
  }
  return concatBytes(chunks);
}

function takeAll<C extends ServerCallOf | ClientCall>(
  machine: { take(call: C, nowMs: number): Uint8Array | undefined },
  call: C,
  nowMs: number,
): Uint8Array[] {
  const messages: Uint8Array[] = [];
  if (call.flow === undefined) return messages;
  for (let one = machine.take(call, nowMs); one; one = machine.take(call, nowMs)) {
    messages.push(one);
  }
  return messages;
}

/** The codes of the Response frames among these. */
export function codes(frames: readonly Frame[]): number[] {
  return frames.filter((frame) => frame.type === 2)
    .map((frame) => readResponse(frame).status?.code ?? 0);
}

export function error(code: number, message = ""): Status {
  return { code, message, details: [] };
}

/** What confirms an offer, and answers a ping. */
export const pong = frame(1, 5, 0);

/** The offer of a covey client, as metadata of a request. */
export function offer(windowBytes = 1 << 20): { key: string; value: string } {
  return { key: "covey-extensions", value: `1;window=${windowBytes}` };
}
