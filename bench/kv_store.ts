/**
 * One connection to a key-value store, the same shape for both peers: covey through its own ttrpc
 * client, etcd through grpc-js with the messages of `bench/etcd`. Every call has a deadline.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescService,
  fromBinary,
  type Message,
  toBinary,
} from "npm:@bufbuild/protobuf@2.17.0";
import { FileDescriptorSetSchema } from "npm:@bufbuild/protobuf@2.17.0/wkt";
import grpc from "npm:@grpc/grpc-js@1.14.7";
import { parseAddress } from "../src/base/address.ts";
import { KV, Maintenance } from "../src/gen/covey/kv/v1/kv_pb.ts";
import type { Runtime } from "../src/runtime/port.ts";
import { Channel } from "../src/ttrpc/channel.ts";
import { createClient } from "../src/ttrpc/client.ts";
import type { Client } from "../src/ttrpc/service.ts";
import type { Done } from "./load.ts";

export interface StoredKey {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** How one member of a cluster fares, as it tells itself. Ids are the cluster's own. */
export interface MemberStatus {
  readonly member: bigint;
  /** 0 for none. */
  readonly leader: bigint;
  readonly term: number;
  /** The last index that it knows to be committed, or that it has. */
  readonly index: number;
  readonly revision: number;
}

export interface RangeOptions {
  /** Empty: the one key. */
  readonly end?: Uint8Array;
  readonly limit?: number;
}

/** Callbacks and promises alike fail after `timeoutMs`. Reads are linearizable. */
export interface Store {
  put(key: Uint8Array, value: Uint8Array, timeoutMs: number, done: Done): void;
  /** Fails when the key is not there. */
  get(key: Uint8Array, timeoutMs: number, done: Done): void;
  range(key: Uint8Array, options: RangeOptions, timeoutMs: number): Promise<StoredKey[]>;
  status(timeoutMs: number): Promise<MemberStatus>;
  close(): void;
}

export type StoreName = "covey" | "etcd";

/** Opens connections of their own, so that as many as are asked for are there. */
export type Dial = (address: string) => Store;

/** Tries until it succeeds or the time is over. */
export async function patiently<T>(work: () => Promise<T>, limitMs: number): Promise<T> {
  const untilMs = performance.now() + limitMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await sleep(50);
    }
  }
}

// ---------------------------------------------------------------------------------------------

/** Addresses are `tcp://host:port`. */
export function coveyDial(runtime: Runtime): Dial {
  return (address) => new CoveyStore(coveyChannel(runtime, address));
}

export function coveyChannel(runtime: Runtime, address: string): Channel {
  const { net, clock, random } = runtime;
  return new Channel({
    net,
    clock,
    random,
    address: parseAddress(address),
    peer: "covey",
    // A node that was down is looked for again as soon as the other peer's client does.
    backoff: { firstMs: 100, mostMs: 200 },
  });
}

class CoveyStore implements Store {
  readonly #channel: Channel;
  readonly #kv: Client<typeof KV>;
  readonly #maintenance: Client<typeof Maintenance>;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#kv = createClient(KV, channel);
    this.#maintenance = createClient(Maintenance, channel);
  }

  put(key: Uint8Array, value: Uint8Array, timeoutMs: number, done: Done): void {
    this.#kv.put({ key, value }, { timeoutMs }).then(() => done(), done);
  }

  get(key: Uint8Array, timeoutMs: number, done: Done): void {
    this.#kv.range({ key }, { timeoutMs }).then(
      (found) => done(found.kvs.length === 1 ? undefined : new Error("the key is not there")),
      done,
    );
  }

  async range(key: Uint8Array, options: RangeOptions, timeoutMs: number): Promise<StoredKey[]> {
    const { end = new Uint8Array(0), limit = 0 } = options;
    const request = { key, rangeEnd: end, limit: BigInt(limit) };
    return (await this.#kv.range(request, { timeoutMs })).kvs;
  }

  async status(timeoutMs: number): Promise<MemberStatus> {
    const status = await this.#maintenance.status({}, { timeoutMs });
    return {
      member: status.header?.memberId ?? 0n,
      leader: status.leader,
      term: Number(status.header?.raftTerm ?? 0n),
      index: Number(status.raftAppliedIndex),
      revision: Number(status.header?.revision ?? 0n),
    };
  }

  close(): void {
    this.#channel.close();
  }
}

// ---------------------------------------------------------------------------------------------

/** The messages of `bench/etcd`, from the descriptor set that `buf build` makes of them. */
export class EtcdMessages {
  readonly #registry: ReturnType<typeof createFileRegistry>;

  constructor(descriptorFile: string) {
    const bytes = readFileSync(descriptorFile);
    this.#registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  }

  service(name: string): DescService {
    const found = this.#registry.getService(`etcdserverpb.${name}`);
    if (found === undefined) throw new Error(`no service ${name} in bench/etcd`);
    return found;
  }
}

/** Addresses are `tcp://host:port`. */
export function etcdDial(messages: EtcdMessages): Dial {
  return (address) => new EtcdStore(messages, address);
}

interface EtcdHeader {
  readonly memberId: bigint;
  readonly raftTerm: bigint;
  readonly revision: bigint;
}

interface EtcdStatus {
  readonly header: EtcdHeader;
  readonly leader: bigint;
  readonly raftIndex: bigint;
}

/** A method, ready to be called: what grpc-js wants to know of it. */
interface Method {
  readonly path: string;
  readonly input: DescMessage;
  readonly serialize: (message: Message) => Buffer;
  readonly parse: (bytes: Uint8Array) => Message;
}

function methodOf(service: DescService, name: string): Method {
  const method = service.methods.find((one) => one.name === name);
  if (method === undefined) throw new Error(`no method ${name} in ${service.typeName}`);
  const { input, output } = method;
  return {
    path: `/${service.typeName}/${name}`,
    input,
    serialize: (message) => {
      const bytes = toBinary(input, message);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    parse: (bytes) => fromBinary(output, bytes),
  };
}

export class EtcdStore implements Store {
  readonly #client: InstanceType<typeof grpc.Client>;
  readonly #messages: EtcdMessages;
  readonly #put: Method;
  readonly #range: Method;

  constructor(messages: EtcdMessages, address: string) {
    this.#messages = messages;
    const kv = messages.service("KV");
    this.#put = methodOf(kv, "Put");
    this.#range = methodOf(kv, "Range");
    this.#client = new grpc.Client(
      address.replace("tcp://", ""),
      grpc.credentials.createInsecure(),
      {
        // Channels to one address share a connection otherwise.
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 200,
        "grpc.max_receive_message_length": -1,
      },
    );
  }

  put(key: Uint8Array, value: Uint8Array, timeoutMs: number, done: Done): void {
    this.#call(this.#put, { key, value }, timeoutMs, done);
  }

  get(key: Uint8Array, timeoutMs: number, done: Done): void {
    this.#call(this.#range, { key }, timeoutMs, (error, answer) => {
      const found = answer as unknown as { kvs: StoredKey[] } | undefined;
      if (error !== null && error !== undefined) done(error);
      else done(found?.kvs.length === 1 ? undefined : new Error("the key is not there"));
    });
  }

  async range(key: Uint8Array, options: RangeOptions, timeoutMs: number): Promise<StoredKey[]> {
    const { end = new Uint8Array(0), limit = 0 } = options;
    const request = { key, rangeEnd: end, limit: BigInt(limit) };
    const answer = await this.#ask(this.#range, request, timeoutMs);
    return (answer as unknown as { kvs: StoredKey[] }).kvs;
  }

  async status(timeoutMs: number): Promise<MemberStatus> {
    const method = methodOf(this.#messages.service("Maintenance"), "Status");
    const answer = await this.#ask(method, {}, timeoutMs) as unknown as EtcdStatus;
    return {
      member: answer.header.memberId,
      leader: answer.leader,
      term: Number(answer.header.raftTerm),
      index: Number(answer.raftIndex),
      revision: Number(answer.header.revision),
    };
  }

  /** Adds a member that listens for its peers at this URL. */
  async addMember(peerUrl: string, timeoutMs: number): Promise<void> {
    const method = methodOf(this.#messages.service("Cluster"), "MemberAdd");
    await this.#ask(method, { peerURLs: [peerUrl] }, timeoutMs);
  }

  async removeMember(id: bigint, timeoutMs: number): Promise<void> {
    const method = methodOf(this.#messages.service("Cluster"), "MemberRemove");
    await this.#ask(method, { ID: id }, timeoutMs);
  }

  close(): void {
    this.#client.close();
  }

  #ask(method: Method, request: Record<string, unknown>, timeoutMs: number): Promise<Message> {
    return new Promise((resolve, reject) =>
      this.#call(method, request, timeoutMs, (error, answer) => {
        if (error !== null && error !== undefined) reject(error);
        else resolve(answer!);
      })
    );
  }

  #call(
    method: Method,
    request: Record<string, unknown>,
    timeoutMs: number,
    done: (error: unknown, answer?: Message) => void,
  ): void {
    this.#client.makeUnaryRequest(
      method.path,
      method.serialize,
      method.parse,
      create(method.input, request),
      new grpc.Metadata(),
      { deadline: Date.now() + timeoutMs },
      done,
    );
  }
}
