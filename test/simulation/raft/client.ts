/**
 * Clients on a machine of their own: each does one operation after the other, at whatever node,
 * and writes down what it asked and what it learned. Some number their writes and repeat them.
 */
import { parseAddress } from "../../../src/base/address.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { KV } from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import { Channel } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { Client } from "../../../src/ttrpc/service.ts";
import type { KvInput, KvOutput } from "../linearizability/kv_model.ts";
import type { Agent } from "./agent.ts";
import type { Recorded } from "./history.ts";
import type { KvClient } from "../../../src/kv/client.ts";
import { askLibrary, libraryClient } from "./kv_library.ts";
import { failureOf, request, type RequestParts } from "./kv_rpc.ts";
import type { Workload } from "./workload.ts";
import type { RaftWorld } from "./world.ts";

/** Tries of one numbered write. */
const triesMax = 6;

export function sleep(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => {
    runtime.clock.timer(ms, () => resolve(), undefined);
  });
}

/** Connections from one client machine to all nodes. */
export class Connections {
  readonly #runtime: Runtime;
  readonly #channels = new Map<string, Channel>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  channel(agent: Agent): Channel {
    const { address } = agent;
    const known = this.#channels.get(address);
    if (known !== undefined) return known;
    const { net, clock, random } = this.#runtime;
    const channel = new Channel({
      net,
      clock,
      random,
      address: parseAddress(address),
      peer: "covey",
      dialTimeoutMs: 1000,
      backoff: { firstMs: 20, mostMs: 500 },
    });
    this.#channels.set(address, channel);
    return channel;
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
  }
}

/** One client; it lives as long as the run. */
export class KvWorker {
  readonly #world: RaftWorld;
  readonly #runtime: Runtime;
  readonly #connections: Connections;
  readonly #random: Prng;
  readonly #workload: Workload;
  readonly #name: string;
  readonly #numbers: boolean;
  /** Covey's own client, where this one is its user. */
  readonly #library: KvClient | undefined;
  readonly #clients = new Map<Channel, Client<typeof KV>>();
  #session = 0n;
  #sequence = 0n;

  constructor(parts: {
    readonly world: RaftWorld;
    readonly runtime: Runtime;
    readonly connections: Connections;
    readonly workload: Workload;
    readonly name: string;
  }) {
    this.#world = parts.world;
    this.#runtime = parts.runtime;
    this.#connections = parts.connections;
    this.#workload = parts.workload;
    this.#name = parts.name;
    this.#random = parts.world.simulation.random(parts.name);
    const { work } = parts.world.plan;
    this.#numbers = this.#random.chance(work.sessionChance);
    if (this.#random.chance(work.libraryChance)) {
      this.#library = libraryClient(this.#runtime, this.#connections, parts.world.fleet.all);
    }
  }

  async run(): Promise<void> {
    const { work } = this.#world.plan;
    for (;;) {
      await sleep(this.#runtime, this.#random.between(1, work.gapMs * 2));
      if (this.#world.rests) return;
      await this.#perform(this.#workload.draw());
    }
  }

  async #perform(input: KvInput): Promise<void> {
    const { history } = this.#world;
    const recorded = history.begin(this.#name, input);
    const writes = input.success.some(({ kind }) => kind !== "get");
    const output = writes && this.#numbers && this.#library === undefined
      ? await this.#repeat(recorded)
      : await this.#once(recorded);
    if (output === undefined) return;
    history.answered(recorded, output);
    const actions = output.succeeded ? input.success : input.failure;
    actions.forEach((action, at) => {
      if (action.kind === "get") this.#workload.saw(action.key, output.actions[at]?.entry);
    });
  }

  /** One try, whose outcome may stay unknown. */
  async #once(recorded: Recorded): Promise<KvOutput | undefined> {
    const { history } = this.#world;
    try {
      if (this.#library === undefined) return await this.#ask(recorded.input, {});
      const padded = (value: string): string => this.#workload.padded(value);
      return await askLibrary(this.#library, recorded.input, padded, 3 * this.#timeoutMs());
    } catch (thrown) {
      const { certain, error } = this.#failed(thrown);
      if (certain) history.refused(recorded, error.message);
      else history.unknown(recorded);
      return undefined;
    }
  }

  /** The same number again and again, until somebody says what came of it. */
  async #repeat(recorded: Recorded): Promise<KvOutput | undefined> {
    const { history } = this.#world;
    if (this.#session === 0n && !await this.#open()) {
      history.refused(recorded, "no session");
      return undefined;
    }
    const session = {
      id: this.#session,
      sequence: ++this.#sequence,
      acknowledged: this.#sequence - 1n,
    };
    let certain = true;
    let last = "";
    for (let tries = 0; tries < triesMax; tries++) {
      if (tries > 0) await sleep(this.#runtime, this.#random.between(1, 300));
      try {
        return await this.#ask(recorded.input, { session });
      } catch (thrown) {
        const failure = this.#failed(thrown);
        last = failure.error.message;
        if (!failure.certain) certain = false;
        if (failure.reason === "session_expired" || failure.reason === "session_unknown") {
          this.#session = 0n;
          break;
        }
        if (failure.reason !== "") break;
      }
    }
    if (certain) history.refused(recorded, last);
    else history.unknown(recorded);
    return undefined;
  }

  async #open(): Promise<boolean> {
    try {
      const { id } = await this.#client().openSession({}, { timeoutMs: this.#timeoutMs() });
      this.#session = id;
      this.#sequence = 0n;
      return true;
    } catch (thrown) {
      this.#failed(thrown);
      return false;
    }
  }

  #ask(input: KvInput, parts: Pick<RequestParts, "session">): Promise<KvOutput> {
    const padded = (value: string): string => this.#workload.padded(value);
    return request(this.#client(), input, { ...parts, padded }, { timeoutMs: this.#timeoutMs() });
  }

  #failed(thrown: unknown): ReturnType<typeof failureOf> {
    const failure = failureOf(thrown);
    this.#world.callFailed(this.#name, failure);
    return failure;
  }

  #timeoutMs(): number {
    const [least, most] = this.#world.plan.work.timeoutMs;
    return this.#random.between(least, most);
  }

  #client(): Client<typeof KV> {
    const channel = this.#connections.channel(this.#random.pick(this.#world.targets()));
    let client = this.#clients.get(channel);
    if (client === undefined) this.#clients.set(channel, client = createClient(KV, channel));
    return client;
  }
}
