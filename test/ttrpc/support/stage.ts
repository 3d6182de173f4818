/**
 * Servers, channels and raw peers on one network, in memory or of the engine that runs the test,
 * and all of it gone at the end.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { Address } from "../../../src/base/address.ts";
import { Prng } from "../../../src/base/prng.ts";
import type { Clock, Net, Random, Runtime } from "../../../src/runtime/port.ts";
import { Channel, type ChannelOptions } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { ServiceRegistry } from "../../../src/ttrpc/registry.ts";
import { RpcServer, type RpcServerOptions } from "../../../src/ttrpc/server.ts";
import type {
  Client,
  ClientInterceptor,
  Handlers,
  ServerInterceptor,
} from "../../../src/ttrpc/service.ts";
import { TestService } from "../../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../../support/test_service.ts";
import { ManualClock, type MemoryFaults, MemoryNet, turns } from "./memory_net.ts";
import { dialRaw, type RawPeer, RawServer } from "./raw_peer.ts";
import { within } from "./within.ts";

export type TestHandlers = Handlers<typeof TestService>;
export type TestClient = Client<typeof TestService>;

export interface ServeInit extends Partial<Omit<RpcServerOptions, "registry">> {
  readonly handlers?: Partial<TestHandlers>;
  readonly interceptors?: readonly ServerInterceptor[];
}

export interface DialInit extends Partial<ChannelOptions> {
  readonly interceptors?: readonly ClientInterceptor[];
}

export interface Served {
  readonly server: RpcServer;
  readonly registry: ServiceRegistry;
  readonly address: Address;
}

export interface Dialled {
  readonly channel: Channel;
  readonly client: TestClient;
}

interface Surroundings {
  readonly name: "memory" | "sockets";
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  address(): Address;
  close(): void;
}

export class Stage {
  readonly name: "memory" | "sockets";
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly #surroundings: Surroundings;
  readonly #servers: RpcServer[] = [];
  readonly #channels: Channel[] = [];
  readonly #peers: RawPeer[] = [];
  readonly #rawServers: RawServer[] = [];

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.name = surroundings.name;
    this.net = surroundings.net;
    this.clock = surroundings.clock;
    this.random = surroundings.random;
  }

  /** An address that nothing listens on yet. */
  address(): Address {
    return this.#surroundings.address();
  }

  /** Lets this much time pass; on sockets it passes by itself. */
  elapse(_ms: number): Promise<void> {
    return Promise.resolve();
  }

  /** Serves the test service. */
  async serve(init: ServeInit = {}): Promise<Served> {
    const { handlers, interceptors, ...options } = init;
    const registry = new ServiceRegistry(interceptors ?? []);
    const clock = options.clock ?? this.clock;
    registry.add(TestService, { ...testHandlers(clock), ...handlers });
    const server = new RpcServer({ net: this.net, clock, registry, ...options });
    this.#servers.push(server);
    const listener = await server.listen({ address: this.address() });
    return { server, registry, address: listener.address };
  }

  dial(address: Address, init: DialInit = {}): Dialled {
    const { interceptors, ...options } = init;
    const { net, clock, random } = this;
    const channel = new Channel({ net, clock, random, address, ...options });
    this.#channels.push(channel);
    return { channel, client: createClient(TestService, channel, interceptors ?? []) };
  }

  /** A server and a channel to it. */
  async pair(serve: ServeInit = {}, dial: DialInit = {}): Promise<Served & Dialled> {
    const served = await this.serve(serve);
    return { ...served, ...this.dial(served.address, dial) };
  }

  async raw(address: Address): Promise<RawPeer> {
    const peer = await dialRaw(this.net, address);
    this.#peers.push(peer);
    return peer;
  }

  async rawServer(): Promise<RawServer> {
    const server = await new RawServer().listen(this.net, this.address());
    this.#rawServers.push(server);
    return server;
  }

  async close(): Promise<void> {
    for (const channel of this.#channels) channel.close();
    for (const peer of this.#peers) if (!peer.closed) peer.connection.abort();
    for (const server of this.#rawServers) server.stop();
    for (const server of this.#servers) await within(server.stop(0), () => "a server's stop");
    this.#surroundings.close();
  }
}

/** A stage whose time and sockets the test moves. */
export class MemoryStage extends Stage {
  declare readonly net: MemoryNet;
  declare readonly clock: ManualClock;

  constructor(faults: Partial<MemoryFaults> = {}, seed = 1) {
    const clock = new ManualClock();
    const net = new MemoryNet(clock, faults);
    let port = 0;
    const prng = new Prng(seed);
    super({
      name: "memory",
      net,
      clock,
      random: prng,
      address: () => ({ kind: "tcp", host: "127.0.0.1", port: 30_000 + port++ }),
      close: () => {},
    });
  }

  override elapse(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  override async close(): Promise<void> {
    this.net.faults.dialsHang = false;
    const closing = super.close();
    // A server that waits for its last connection waits for time.
    while (!await Promise.race([closing.then(() => true), turns(5).then(() => false)])) {
      await this.clock.advance(10);
    }
  }
}

let engine: Promise<Runtime> | undefined;

/** The runtime of the engine that runs this file; the other one's files must not even load. */
function loadRuntime(): Promise<Runtime> {
  return engine ??= "Bun" in globalThis
    ? import("../../../src/runtime/bun.ts").then((one) => one.createBunRuntime())
    : import("../../../src/runtime/deno.ts").then((one) => one.createDenoRuntime());
}

async function openSockets(): Promise<Stage> {
  const { net, clock, random } = await loadRuntime();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "covey-ttrpc-"));
  let count = 0;
  return new Stage({
    name: "sockets",
    net,
    clock,
    random,
    // Unix sockets and TCP in turn.
    address: () =>
      count++ % 2 === 0
        ? { kind: "unix", path: `${directory}/${count}.sock` }
        : { kind: "tcp", host: "127.0.0.1", port: 0 },
    close: () => fs.rmSync(directory, { recursive: true, force: true }),
  });
}

/** A test on a network in memory with time that stands still. */
export function memoryTest(
  name: string,
  body: (stage: MemoryStage) => Promise<void>,
  faults: Partial<MemoryFaults> = {},
): void {
  test(name, async () => {
    const stage = new MemoryStage(faults);
    try {
      await body(stage);
    } finally {
      await stage.close();
    }
  });
}

/** One test over many seeds, each on a network of its own; a failure says for which seed. */
export function seedsTest(
  name: string,
  count: number,
  body: (stage: MemoryStage, random: Prng) => Promise<void>,
): void {
  test(`${name}, ${count} seeds`, async () => {
    for (let seed = 1; seed <= count; seed++) {
      const stage = new MemoryStage();
      try {
        await body(stage, new Prng(seed));
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      } finally {
        await stage.close();
      }
    }
  });
}

/** A test on the sockets and the clock of this engine. */
export function socketTest(name: string, body: (stage: Stage) => Promise<void>): void {
  test(name, async () => {
    const stage = await openSockets();
    try {
      await body(stage);
    } finally {
      await stage.close();
    }
  });
}

/** The same test on both. */
export function bothTest(name: string, body: (stage: Stage) => Promise<void>): void {
  memoryTest(`${name} (memory)`, body);
  socketTest(`${name} (sockets)`, body);
}
