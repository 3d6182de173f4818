/** Nodes that are nothing but membership: `Members` behind a ttrpc server, on simulated machines. */
import assert from "node:assert/strict";
import { parseAddress } from "../../../src/base/address.ts";
import { CoveyError } from "../../../src/base/error.ts";
import type { Logger, LogLevel } from "../../../src/base/log.ts";
import { Membership } from "../../../src/gen/covey/membership/v1/membership_pb.ts";
import { Members as MembersService } from "../../../src/gen/covey/membership/v1/members_pb.ts";
import { MemberRole } from "../../../src/membership/core/member.ts";
import { lan, type Profile } from "../../../src/membership/core/options.ts";
import { Members } from "../../../src/membership/members.ts";
import type { Founding } from "../../../src/membership/members_types.ts";
import { operatorHandlers } from "../../../src/membership/operator.ts";
import { membershipHandlers } from "../../../src/membership/service.ts";
import { NodeRpc } from "../../../src/node/rpc.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import {
  createSimulation,
  type Simulation,
  type SimulationOptions,
} from "../../../src/runtime/sim/simulation.ts";
import { identify } from "../../../src/security/identify.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { RpcCounters } from "../../../src/ttrpc/counters.ts";
import { rpcLimitsDefault } from "../../../src/ttrpc/limits.ts";
import { ServiceRegistry } from "../../../src/ttrpc/registry.ts";
import { RpcServer } from "../../../src/ttrpc/server.ts";
import type { Client } from "../../../src/ttrpc/service.ts";

export const dataDirectory = "/data";
export const meshPort = 7946;
export const clusterId = "0123456789abcdef0123456789abcdef";
const dial = { dialTimeoutMs: 2_000, backoff: { firstMs: 50, mostMs: 1_000 } };

/** What a node is told at every start; a test may change it between two. */
export interface NodeSetup {
  nodeId: string;
  address: string;
  name: string;
  role: MemberRole;
  seeds: string[];
  profile: Profile;
  /** Founders of the cluster, with this node among them; empty: it joins. */
  founders: string[];
  clusterId: string;
  /** Without it nothing is kept. */
  isDurable: boolean;
}

export class LabNode {
  readonly name: string;
  readonly runtime: Runtime;
  readonly members: Members;
  readonly server: RpcServer;
  readonly rpc: NodeRpc;
  failure: CoveyError | undefined = undefined;
  readonly #setup: NodeSetup;

  constructor(lab: MembersLab, setup: NodeSetup, runtime: Runtime) {
    const { net, clock, random, disk } = runtime;
    this.name = setup.name;
    this.runtime = runtime;
    this.#setup = setup;
    const registry = new ServiceRegistry([]);
    this.server = new RpcServer({
      net,
      clock,
      registry,
      identify,
      onHandlerError: (path, error) =>
        lab.handlerErrors.push(`${setup.name} ${path}: ${String(error)}`),
    });
    this.rpc = new NodeRpc({
      runtime,
      server: this.server,
      limits: rpcLimitsDefault,
      counters: new RpcCounters(),
      tls: undefined,
    });
    this.members = new Members({
      clock,
      random,
      logger: lab.logger(setup.name),
      storage: setup.isDurable ? { disk, directory: dataDirectory } : undefined,
      nodeId: setup.nodeId,
      name: setup.name,
      address: setup.address,
      role: setup.role,
      metadata: new Map(),
      profile: setup.profile,
      seeds: setup.seeds,
      channel: (to) => this.rpc.channel(to, { peer: "covey", ...dial }),
    });
    registry.add(Membership, membershipHandlers(this.members));
    registry.add(MembersService, operatorHandlers(this.members));
  }

  async run(): Promise<void> {
    await this.runtime.disk.makeDirectory(dataDirectory);
    await this.server.listen({ address: parseAddress(`tcp://0.0.0.0:${meshPort}`) });
    try {
      await this.members.start();
      const { founders, clusterId: id } = this.#setup;
      if (founders.length === 0) this.members.join(id);
      else this.members.found(foundingOf(founders, id));
    } catch (error) {
      this.failure = CoveyError.from(error);
    }
    await new Promise<never>(() => {});
  }

  /** Names in the view that it is in; undefined while it is in none. */
  get names(): string[] | undefined {
    return this.members.view?.members.map(({ name }) => name);
  }

  /** Ends as a process that was told to. */
  async stop(): Promise<void> {
    await this.members.stop();
    await this.server.stop(1_000);
    this.rpc.close();
  }
}

export class MembersLab {
  readonly simulation: Simulation;
  readonly handlerErrors: string[] = [];
  readonly lines: { readonly node: string; readonly level: LogLevel; readonly message: string }[] =
    [];
  readonly #setups = new Map<string, NodeSetup>();
  readonly #nodes = new Map<string, LabNode>();
  readonly #profile: Profile;
  #client: NodeRpc | undefined = undefined;

  constructor(options: Partial<SimulationOptions> & { readonly profile?: Profile } = {}) {
    const { profile, ...rest } = options;
    this.#profile = profile ?? lan;
    this.simulation = createSimulation({ seed: 1, ...rest });
  }

  define(name: string, setup: Partial<NodeSetup> = {}): NodeSetup {
    const made: NodeSetup = {
      nodeId: nodeIdOf(name),
      address: addressOf(name),
      name,
      role: MemberRole.core,
      seeds: [],
      profile: this.#profile,
      founders: [],
      clusterId,
      isDurable: true,
      ...setup,
    };
    this.#setups.set(name, made);
    return made;
  }

  setup(name: string): NodeSetup {
    return this.#setups.get(name)!;
  }

  /** Founders of one cluster, running. */
  async found(...names: string[]): Promise<void> {
    for (const name of names) {
      this.define(name, { founders: names, seeds: names.map(addressOf) });
    }
    this.start(...names);
    await this.until(() => this.agree(...names));
  }

  start(...names: string[]): void {
    for (const name of names) {
      if (!this.#setups.has(name)) this.define(name);
      const known = this.simulation.machines.some((machine) => machine.name === name);
      const machine = this.machine(name);
      if (!known || machine.running) continue;
      this.#nodes.delete(name);
      machine.restart();
    }
  }

  machine(name: string): SimMachine {
    return this.simulation.machine(name, {
      boot: async (runtime) => {
        const node = new LabNode(this, { ...this.setup(name) }, runtime);
        this.#nodes.set(name, node);
        await node.run();
      },
    });
  }

  /** Whether its newest start has begun. */
  has(name: string): boolean {
    return this.#nodes.has(name);
  }

  node(name: string): LabNode {
    const node = this.#nodes.get(name);
    assert.ok(node !== undefined, `${name} was never started`);
    return node;
  }

  /** Whether all of these are in one view, which holds them and nobody else. */
  agree(...names: string[]): boolean {
    const wanted = [...names].sort().join();
    const [first] = names;
    const view = this.#nodes.get(first)?.members.view;
    return view !== undefined && names.every((name) => {
      const other = this.#nodes.get(name)?.members.view;
      return other !== undefined && other.epoch === view.epoch && other.digest === view.digest &&
        [...this.node(name).names!].sort().join() === wanted;
    });
  }

  async until(isSo: () => boolean, limitMs = 60_000): Promise<void> {
    if (isSo()) return;
    const endMs = this.simulation.nowMs + limitMs;
    try {
      await this.simulation.run({ until: isSo, untilMs: endMs });
    } catch (error) {
      if (this.simulation.nowMs < endMs) throw error;
      assert.fail(`not so within ${limitMs} ms: ${String(isSo)}\n${this.#describe()}`);
    }
  }

  async advance(ms: number): Promise<void> {
    await this.simulation.run({ untilMs: this.simulation.nowMs + ms });
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    return await this.simulation.wait(promise, { forMs: 60_000 });
  }

  /** Both ways; gives what heals it. */
  partition(these: readonly string[], those: readonly string[]): () => void {
    const fault = this.simulation.partition(these, those);
    return () => fault.heal();
  }

  #describe(): string {
    return [...this.#nodes.values()].map(({ name, members }) => {
      const present = members.feed.present;
      const names = present?.members.map((member) => member.name).join();
      return `${name}: ${members.state} ${present?.epoch} [${names}] ${members.problem ?? ""}`;
    }).join("\n");
  }

  /** An operator's requests to a node. */
  client(name: string): Client<typeof MembersService> {
    if (this.#client === undefined) {
      const { runtime } = this.simulation.machine("operator", {
        boot: () => new Promise<never>(() => {}),
      });
      this.#client = new NodeRpc({
        runtime,
        server: undefined as never,
        limits: rpcLimitsDefault,
        counters: new RpcCounters(),
        tls: undefined,
      });
    }
    return createClient(MembersService, this.#client.channel(addressOf(name), { peer: "covey" }));
  }

  logger(node: string): Logger {
    const line = (level: LogLevel) => (message: string): void =>
      void this.lines.push({ node, level, message });
    const logger: Logger = {
      trace: line("trace"),
      debug: line("debug"),
      info: line("info"),
      warning: line("warning"),
      error: line("error"),
      enabled: () => true,
      child: () => logger,
    };
    return logger;
  }
}

export function nodeIdOf(name: string): string {
  return [...name].map((one) => one.charCodeAt(0).toString(16)).join("").padStart(32, "0");
}

export function addressOf(name: string): string {
  return `tcp://${name}:${meshPort}`;
}

function foundingOf(names: readonly string[], id: string): Founding {
  return {
    clusterId: id,
    founders: names.map((name) => ({ nodeId: nodeIdOf(name), name, address: addressOf(name) })),
  };
}
