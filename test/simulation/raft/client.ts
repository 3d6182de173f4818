/**
 * Clients on a machine of their own: each does one operation after the other, at whatever node,
 * and writes down what it asked and what it learned. Some number their writes and repeat them.
 */
import { KV } from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import type { Channel } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { Client } from "../../../src/ttrpc/service.ts";
import type { KvInput, KvOutput } from "../linearizability/kv_model.ts";
import { type ClientParts, SimulatedClient } from "./client_machine.ts";
import type { Recorded } from "./history.ts";
import type { KvClient } from "../../../src/kv/client.ts";
import { askLibrary, libraryClient } from "./kv_library.ts";
import { failureOf, request, type RequestParts } from "./kv_rpc.ts";
import { Workload } from "./workload.ts";

/** Tries of one numbered write. */
const triesMax = 6;

/** One client; it lives as long as the run. */
export class KvWorker extends SimulatedClient {
  readonly #workload: Workload;
  readonly #numbers: boolean;
  /** Covey's own client, where this one is its user. */
  readonly #library: KvClient | undefined;
  readonly #clients = new Map<Channel, Client<typeof KV>>();
  #session = 0n;
  #sequence = 0n;

  constructor(parts: ClientParts, name: string, workload: Workload) {
    super(parts, name);
    this.#workload = workload;
    const { work } = parts.world.plan;
    this.#numbers = this.random.chance(work.sessionChance);
    if (this.random.chance(work.libraryChance)) {
      this.#library = libraryClient(this.runtime, this.connections, parts.world.fleet.all);
    }
  }

  async run(): Promise<void> {
    const { work } = this.world.plan;
    for (;;) {
      await this.sleep(this.random.between(1, work.gapMs * 2));
      if (this.world.rests) return;
      await this.#perform(this.#workload.draw());
    }
  }

  async #perform(input: KvInput): Promise<void> {
    const { history } = this.world;
    const recorded = history.begin(this.name, input);
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
    const { history } = this.world;
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
    const { history } = this.world;
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
      if (tries > 0) await this.sleep(this.random.between(1, 300));
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
    this.expectCoveyError(thrown);
    return failureOf(thrown);
  }

  #timeoutMs(): number {
    const [least, most] = this.world.plan.work.timeoutMs;
    return this.random.between(least, most);
  }

  #client(): Client<typeof KV> {
    const channel = this.channel();
    let client = this.#clients.get(channel);
    if (client === undefined) this.#clients.set(channel, client = createClient(KV, channel));
    return client;
  }
}

/** As many as the plan has, with one workload. */
export function startWorkers(parts: ClientParts): void {
  const { simulation, plan } = parts.world;
  const workload = new Workload(simulation.random("workload"), plan.work);
  for (let at = 0; at < plan.work.clients; at++) {
    void new KvWorker(parts, `client ${at}`, workload).run();
  }
}
