/** The machine on which all clients of a run live, and what each of them has. */
import { parseAddress } from "../../../src/base/address.ts";
import { CoveyError } from "../../../src/base/error.ts";
import type { Prng } from "../../../src/base/prng.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import { Channel } from "../../../src/ttrpc/channel.ts";
import { sleep } from "../sleep.ts";
import type { Agent } from "./agent.ts";
import type { RaftWorld } from "./world.ts";

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
}

export interface ClientParts {
  readonly world: RaftWorld;
  readonly runtime: Runtime;
  readonly connections: Connections;
}

/** Whoever asks nodes for something, with a randomness of its own. */
export abstract class SimulatedClient {
  readonly world: RaftWorld;
  readonly runtime: Runtime;
  readonly connections: Connections;
  readonly random: Prng;
  readonly name: string;

  constructor({ world, runtime, connections }: ClientParts, name: string) {
    this.world = world;
    this.runtime = runtime;
    this.connections = connections;
    this.name = name;
    this.random = world.simulation.random(name);
  }

  sleep(ms: number): Promise<void> {
    return sleep(this.runtime, ms);
  }

  /** To any node that may be asked at present. */
  channel(): Channel {
    return this.connections.channel(this.random.pick(this.world.targets()));
  }

  /** Everything may fail at any time, but never otherwise than by an error that says why. */
  expectCoveyError(thrown: unknown): void {
    this.world.verdict.check(
      thrown instanceof CoveyError,
      "every failure is a CoveyError",
      () => thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown),
    );
  }
}

/** Switches the machine on; it stays on until somebody kills it. */
export function startClientMachine(
  world: RaftWorld,
  begin: (parts: ClientParts) => void | Promise<void>,
): void {
  world.simulation.machine("clients", {
    immune: true,
    boot: async (runtime) => {
      await begin({ world, runtime, connections: new Connections(runtime) });
      await new Promise<void>(() => {});
    },
  });
}
