/** Clusters on the network in memory: members that serve, a view that tests change, and a router. */
import assert from "node:assert/strict";
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { formatAddress, parseAddress } from "../../src/base/address.ts";
import { toHex } from "../../src/base/bytes.ts";
import { CoveyError } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import { type Net, NetError, type Subscription } from "../../src/runtime/port.ts";
import { createRoutedClient } from "../../src/routing/routed_client.ts";
import type { RoutedMember, RouterParts } from "../../src/routing/members.ts";
import type { RoutedClientOptions, RouterOptions } from "../../src/routing/options.ts";
import { Router } from "../../src/routing/router.ts";
import type { Channel, ChannelOptions } from "../../src/ttrpc/channel.ts";
import { createLocalClient } from "../../src/ttrpc/local_client.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import type { RpcServer } from "../../src/ttrpc/server.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { failure } from "../ttrpc/support/outcome.ts";
import {
  type MemoryStage,
  memoryTest,
  type TestClient,
  type TestHandlers,
} from "../ttrpc/support/stage.ts";

/** A callback list that counts who is on it. */
export class News {
  readonly callbacks: Set<() => void> = new Set();

  changed(callback: () => void): Subscription {
    this.callbacks.add(callback);
    return { cancel: () => void this.callbacks.delete(callback) };
  }

  tell(): void {
    for (const callback of [...this.callbacks]) callback();
  }
}

export interface TestMember extends RoutedMember {
  readonly server: RpcServer | undefined;
  /** Names of the calls that its handlers got. */
  readonly calls: string[];
}

export interface MemberInit {
  readonly handlers?: Partial<TestHandlers>;
  readonly tags?: readonly string[];
  /** False: nothing listens at its address. */
  readonly serves?: boolean;
}

export class TestCluster {
  readonly stage: MemoryStage;
  readonly views: News = new News();
  readonly offers: News = new News();
  readonly services: Map<string, readonly string[]> = new Map();
  readonly tags: Map<string, readonly string[]> = new Map();
  readonly trips: Map<string, number> = new Map();
  /** Every channel that was made, in order. */
  readonly channels: Channel[] = [];
  readonly local = new ServiceRegistry();
  readonly localCalls: string[] = [];
  /** Dials of these addresses get no answer, as when the machine is gone. */
  readonly silent: Set<string> = new Set();
  /** No channel can be made to these. */
  readonly unusable: Set<string> = new Set();
  channelOptions: Partial<ChannelOptions> = {};
  current: { readonly members: readonly RoutedMember[] } = { members: [] };
  #members = 0;

  constructor(stage: MemoryStage) {
    this.stage = stage;
    this.local.add(TestService, recorded(testHandlers(stage.clock), this.localCalls));
  }

  /** A member that serves the test service; it is in the view only when {@link view} says so. */
  async member(init: MemberInit = {}): Promise<TestMember> {
    const index = this.#members++;
    const calls: string[] = [];
    const handlers = { ...testHandlers(this.stage.clock), ...init.handlers };
    const served = init.serves === false
      ? undefined
      : await this.stage.serve({ handlers: recorded(handlers, calls) });
    const address = formatAddress(served?.address ?? this.stage.address());
    const id = new Uint8Array(16);
    new Prng(500 + index).fill(id);
    this.services.set(address, [TestService.typeName]);
    this.tags.set(address, init.tags ?? []);
    return { address, nodeId: toHex(id), name: `node${index}`, server: served?.server, calls };
  }

  async members(count: number, init: MemberInit = {}): Promise<TestMember[]> {
    const members: TestMember[] = [];
    for (let index = 0; index < count; index++) members.push(await this.member(init));
    return members;
  }

  /** The next view. */
  view(...members: readonly RoutedMember[]): void {
    this.current = { members };
    this.views.tell();
  }

  offer({ address }: RoutedMember, ...services: readonly DescService[]): void {
    this.services.set(address, services.map(({ typeName }) => typeName));
    this.offers.tell();
  }

  parts(self = "tcp://127.0.0.1:1"): RouterParts {
    const { stage } = this;
    return {
      clock: stage.clock,
      random: stage.random,
      views: this.#views(),
      offers: {
        servicesOf: ({ address }) => this.services.get(address) ?? [],
        tagsOf: ({ address }) => this.tags.get(address) ?? [],
        changed: (callback) => this.offers.changed(callback),
      },
      trips: { tripMs: (address) => this.trips.get(address) },
      self,
      channel: (address) => {
        if (this.unusable.has(address)) throw new CoveyError(9, "no certificates");
        const options = { net: this.#net(), ...this.channelOptions };
        const { channel } = stage.dial(parseAddress(address), options);
        this.channels.push(channel);
        return channel;
      },
      local: (service) =>
        createLocalClient(service, {
          registry: this.local,
          clock: stage.clock,
          identity: { kind: "local", name: "self" },
          address: parseAddress(self),
        }),
    };
  }

  /** The stage's network, but for the silence. */
  #net(): Net {
    const { net, clock } = this.stage;
    const connect: Net["connect"] = (options) => {
      if (!this.silent.has(formatAddress(options.address))) return net.connect(options);
      return new Promise((_, reject) => {
        const end = (kind: NetError["kind"]): void => {
          timer.cancel();
          options.signal?.removeEventListener("abort", aborted);
          reject(new NetError(kind, kind));
        };
        const aborted = (): void => end("aborted");
        const timer = clock.timer(options.timeoutMs, end, "timeout" as const);
        options.signal?.addEventListener("abort", aborted);
      });
    };
    return new Proxy<Net>(net, {
      get(target, name) {
        if (name === "connect") return connect;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  #views(): RouterParts["views"] {
    const current = () => this.current;
    return {
      get current() {
        return current();
      },
      changed: (callback) => this.views.changed(callback),
    };
  }

  router(options: RouterOptions = {}, self?: string): Router {
    return new Router(this.parts(self), options);
  }

  /** A router and a client of its own. */
  client(options: RoutedClientOptions = {}, routerOptions: RouterOptions = {}): RoutedTest {
    const router = this.router(routerOptions);
    return { router, client: createRoutedClient(TestService, router, options) };
  }

  /** Nothing is left of it: no channel, subscription, timer of a call, or call. */
  async assertGone(router: Router): Promise<void> {
    router.close();
    await turns();
    assert.deepEqual(
      [router.channels, router.draining, router.waiting, router.members.length],
      [0, 0, 0, 0],
    );
    assert.deepEqual([this.views.callbacks.size, this.offers.callbacks.size], [0, 0]);
    assert.deepEqual(this.channels.filter(({ state }) => state !== "closed"), []);
  }
}

export interface RoutedTest {
  readonly router: Router;
  readonly client: TestClient;
}

export function clusterTest(name: string, body: (cluster: TestCluster) => Promise<void>): void {
  memoryTest(name, (stage) => body(new TestCluster(stage)));
}

/** Which members were called how often. */
export function callCounts(members: readonly TestMember[]): number[] {
  return members.map(({ calls }) => calls.length);
}

/** The error of a call, while the clock moves. */
export async function failureWithin(
  { stage }: TestCluster,
  promise: Promise<unknown>,
  ms: number,
): ReturnType<typeof failure> {
  const failed = failure(promise);
  // It is waited for below: meanwhile it must not count as unhandled.
  failed.catch(() => {});
  await stage.elapse(ms);
  return await failed;
}

/** Handlers that note which of them was called. */
function recorded(handlers: TestHandlers, calls: string[]): TestHandlers {
  const noted: Record<string, unknown> = {};
  for (const [name, handler] of Object.entries(handlers)) {
    noted[name] = (...args: unknown[]) => {
      calls.push(name);
      return (handler as (...args: unknown[]) => unknown)(...args);
    };
  }
  return noted as unknown as TestHandlers;
}
