/** A stream of watches as a client on the wire has it. */
import assert from "node:assert/strict";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { encodeText } from "../../src/base/bytes.ts";
import type {
  Event,
  WatchCreateRequestSchema,
  WatchResponse,
} from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { Requests } from "../../src/kv/client_requests.ts";
import { prefixEnd } from "../../src/kv/core/bytes.ts";
import type { Client } from "../../src/ttrpc/service.ts";
import { within } from "../ttrpc/support/within.ts";

type CreateInit = Exclude<MessageInitShape<typeof WatchCreateRequestSchema>, { $typeName: string }>;

export class RawWatch {
  readonly #requests = new Requests<object>();
  readonly #responses: AsyncIterator<WatchResponse>;
  #first: Promise<IteratorResult<WatchResponse>> | undefined;

  constructor(
    client: Client<typeof Watch>,
    metadata?: Readonly<Record<string, string>>,
  ) {
    this.#responses = client.watch(this.#requests as never, { metadata })[Symbol.asyncIterator]();
    this.#first = this.#responses.next();
  }

  create(create: CreateInit): void {
    this.#requests.push({ request: { case: "createRequest", value: create } });
  }

  /** Creates one and takes the answer that says so. */
  async created(create: CreateInit): Promise<WatchResponse> {
    this.create(create);
    const response = await this.next();
    assert.ok(response.created, "the answer is about the creation");
    return response;
  }

  cancel(id: number): void {
    this.#requests.push({ request: { case: "cancelRequest", value: { watchId: BigInt(id) } } });
  }

  askProgress(): void {
    this.#requests.push({ request: { case: "progressRequest", value: {} } });
  }

  empty(): void {
    this.#requests.push({ request: { case: undefined } });
  }

  /** The client wants no more. */
  finish(): void {
    this.#requests.end();
  }

  take(): Promise<IteratorResult<WatchResponse>> {
    const first = this.#first;
    this.#first = undefined;
    return first ?? this.#responses.next();
  }

  async next(): Promise<WatchResponse> {
    const result = await within(this.take(), () => "the next answer of a watch");
    assert.equal(result.done, false, "the stream goes on");
    return result.value as WatchResponse;
  }

  async leave(): Promise<void> {
    this.#requests.end();
    await this.#responses.return?.();
  }
}

/** `put a=1@5`, with `<0@4` for what was before. */
export function show(event: Event): string {
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const { kv, prevKv } = event;
  const what = event.type === 0
    ? `put ${text(kv!.key)}=${text(kv!.value)}`
    : `delete ${text(kv!.key)}`;
  const before = prevKv === undefined ? "" : ` <${text(prevKv.value)}@${prevKv.modRevision}`;
  return `${what}@${kv!.modRevision}${before}`;
}

export function prefix(text: string): { key: Uint8Array; rangeEnd: Uint8Array } {
  const key = encodeText(text);
  return { key, rangeEnd: prefixEnd(key) };
}

export function key(text: string): { key: Uint8Array } {
  return { key: encodeText(text) };
}
