/**
 * Nodes that are nothing but the consensus module: a `Cluster` with its services behind a ttrpc
 * server, on machines of the simulator, driving a {@link TestMachine}. The lab compares what they
 * apply, index by index, and remembers how every proposal ended.
 */
import assert from "node:assert/strict";
import { parseAddress } from "../../../src/base/address.ts";
import { CoveyError } from "../../../src/base/error.ts";
import type { Logger, LogLevel } from "../../../src/base/log.ts";
import { Raft } from "../../../src/gen/covey/raft/v1/raft_pb.ts";
import { Transport } from "../../../src/gen/covey/raft/v1/transport_pb.ts";
import { NodeRpc } from "../../../src/node/rpc.ts";
import { Cluster } from "../../../src/raft/cluster.ts";
import type { Group } from "../../../src/raft/group.ts";
import type { RequestOptions } from "../../../src/raft/group_types.ts";
import { Operator } from "../../../src/raft/operator.ts";
import { type RaftOptions, raftOptionsDefault } from "../../../src/raft/options.ts";
import { TransportService } from "../../../src/raft/transport_service.ts";
import type { LogError } from "../../../src/raft/wal/error.ts";
import type { Clock, Disk, Runtime, TlsOptions } from "../../../src/runtime/port.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import {
  createSimulation,
  type Simulation,
  type SimulationOptions,
} from "../../../src/runtime/sim/simulation.ts";
import type { Channel } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { RpcCounters } from "../../../src/ttrpc/counters.ts";
import { rpcLimitsDefault } from "../../../src/ttrpc/limits.ts";
import { identify } from "../../../src/security/identify.ts";
import { ServiceRegistry } from "../../../src/ttrpc/registry.ts";
import { RpcServer } from "../../../src/ttrpc/server.ts";
import type { Client, ServerInterceptor } from "../../../src/ttrpc/service.ts";
import {
  commandBytes,
  TestMachine,
  type TestMachineOptions,
  type TestResult,
} from "./test_machine.ts";

export const dataDirectory = "/data";
export const meshPort = 7946;
const dial = { dialTimeoutMs: 2_000, backoff: { firstMs: 50, mostMs: 1_000 } };

export interface LabOptions extends Partial<SimulationOptions> {
  readonly raft?: Partial<RaftOptions>;
  readonly machine?: TestMachineOptions;
}

/** What a node is told at every start; a test may change it between two. */
export interface NodeSetup {
  nodeId: string;
  join: string[];
  expect: number;
  /** Where it says that it is reached. */
  address: string;
  raft: Partial<RaftOptions>;
  machine: TestMachineOptions;
  /** Puts something between the node and its disk. */
  disk?: (disk: Disk) => Disk;
  /** Puts something between the node's consensus and its clock. */
  clock?: (clock: Clock) => Clock;
  interceptors: ServerInterceptor[];
  diskBytes?: number;
  /** With it, connections are TLS. */
  tls?: TlsOptions;
}

export interface LoggedLine {
  readonly atMs: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** How a proposal ended. */
export interface Operation {
  readonly id: string;
  readonly node: string;
  readonly startedMs: number;
  endedMs: number;
  result?: TestResult;
  error?: CoveyError;
}

/** One start of one node. */
export class LabNode {
  readonly lab: Lab;
  readonly name: string;
  readonly runtime: Runtime;
  readonly machine: TestMachine;
  readonly cluster: Cluster<TestResult>;
  readonly server: RpcServer;
  readonly rpc: NodeRpc;
  readonly fatal: LogError[] = [];
  readonly #setup: NodeSetup;
  /** Why the start was refused. */
  failure: CoveyError | undefined = undefined;
  started = false;

  constructor(lab: Lab, name: string, setup: NodeSetup, runtime: Runtime) {
    this.lab = lab;
    this.name = name;
    this.runtime = runtime;
    this.#setup = setup;
    this.machine = new TestMachine({ ...setup.machine, told: (one) => lab.applied(name, one) });
    const registry = new ServiceRegistry(setup.interceptors);
    const { net, clock, random } = runtime;
    this.server = new RpcServer({
      net,
      clock,
      registry,
      identify,
      onHandlerError: (path, error) => lab.handlerErrors.push(`${name} ${path}: ${String(error)}`),
    });
    this.rpc = new NodeRpc({
      runtime,
      server: this.server,
      limits: rpcLimitsDefault,
      counters: new RpcCounters(),
      tls: setup.tls,
    });
    this.cluster = new Cluster<TestResult>({
      disk: setup.disk?.(runtime.disk) ?? runtime.disk,
      clock: setup.clock?.(clock) ?? clock,
      random,
      logger: lab.logger(name),
      options: { ...raftOptionsDefault, lowWaterBytes: 0, ...lab.options.raft, ...setup.raft },
      directory: dataDirectory,
      nodeId: setup.nodeId,
      name,
      address: setup.address,
      join: setup.join,
      expect: setup.expect,
      channel: (address) => this.rpc.channel(address, { peer: "covey", ...dial }),
      machine: this.machine,
      fatal: (error) => {
        this.fatal.push(error);
        try {
          runtime.host.exit(1);
        } catch { /* The simulator's way to leave the process, which is gone now. */ }
      },
      started: () => {
        this.started = true;
      },
    });
    registry.add(Transport, new TransportService(this.cluster).handlers());
    registry.add(Raft, new Operator(this.cluster, clock).handlers());
  }

  get root(): Group<TestResult> {
    const { root } = this.cluster;
    assert.ok(root !== undefined, `${this.name} is part of no cluster: ${this.cluster.problem}`);
    return root;
  }

  get isLeading(): boolean {
    return this.cluster.root?.isLeading === true;
  }

  /** The machine's program: runs until the process ends. */
  async run(): Promise<void> {
    const { disk } = this.runtime;
    await disk.makeDirectory(dataDirectory);
    await disk.syncDirectory("/");
    const address = parseAddress(`tcp://0.0.0.0:${meshPort}`);
    await this.server.listen({ address, tls: this.#setup.tls });
    try {
      await this.cluster.start();
    } catch (error) {
      this.failure = CoveyError.from(error);
      await this.stop();
      return;
    }
    await new Promise<never>(() => {});
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await this.server.stop(5_000);
    this.rpc.close();
  }

  get setup(): NodeSetup {
    return this.#setup;
  }
}

export class Lab {
  readonly simulation: Simulation;
  readonly options: LabOptions;
  readonly lines = new Map<string, LoggedLine[]>();
  readonly handlerErrors: string[] = [];
  readonly operations: Operation[] = [];
  readonly #setups = new Map<string, NodeSetup>();
  readonly #nodes = new Map<string, LabNode>();
  /** What was applied at an index, whoever did it first. */
  readonly #byIndex = new Map<number, string>();
  readonly #byId = new Map<string, number>();
  readonly #retired = new Set<string>();
  readonly #toolRuns = new Set<Runtime>();
  #clientRpc: NodeRpc | undefined = undefined;
  #nextId = 0;

  constructor(options: LabOptions = {}) {
    this.options = options;
    const { raft: _raft, machine: _machine, ...rest } = options;
    this.simulation = createSimulation({ seed: 1, ...rest });
  }

  // -------------------------------------------------------------------------------------------
  // Nodes

  /** Says what a node will be; {@link start} runs it. */
  define(name: string, setup: Partial<NodeSetup> = {}): NodeSetup {
    const made: NodeSetup = {
      nodeId: nodeIdOf(name),
      join: [],
      expect: 0,
      address: addressOf(name),
      raft: {},
      machine: this.options.machine ?? {},
      interceptors: [],
      ...setup,
    };
    this.#setups.set(name, made);
    return made;
  }

  setup(name: string): NodeSetup {
    return this.#setups.get(name)!;
  }

  start(...names: string[]): void {
    for (const name of names) {
      this.#retired.delete(name);
      if (!this.#setups.has(name)) this.define(name);
      const known = this.simulation.machines.some((machine) => machine.name === name);
      const machine = this.machine(name);
      if (!known || machine.running) continue;
      // Nobody is to take the process before for the new one, which boots in a moment.
      this.#nodes.delete(name);
      machine.restart();
    }
  }

  machine(name: string): SimMachine {
    return this.simulation.machine(name, {
      diskBytes: this.#setups.get(name)?.diskBytes,
      boot: async (runtime) => {
        if (this.#toolRuns.delete(runtime)) return await new Promise<never>(() => {});
        const node = new LabNode(this, name, { ...this.setup(name) }, runtime);
        this.#nodes.set(name, node);
        await node.run();
      },
    });
  }

  /** Runs what is defined under this name on a machine that the test has made. */
  runOn(machine: SimMachine, name: string): LabNode {
    const node = new LabNode(this, name, { ...this.setup(name) }, machine.runtime);
    this.#nodes.set(name, node);
    machine.start(() => node.run());
    return node;
  }

  /** A node that will not run here any more. */
  retire(name: string): void {
    this.#nodes.delete(name);
    this.#retired.add(name);
  }

  /** Runs something else than the node on its machine. */
  async runTool<T>(name: string, work: (runtime: Runtime) => Promise<T>): Promise<T> {
    const machine = this.machine(name);
    // Its boot is an event of its own, and finds itself here.
    this.#toolRuns.add(machine.restart());
    const result = await this.wait(work(machine.runtime));
    machine.kill();
    return result;
  }

  /** The newest start of a node. */
  node(name: string): LabNode {
    const node = this.#nodes.get(name);
    assert.ok(node !== undefined, `${name} was never started`);
    return node;
  }

  has(name: string): boolean {
    return this.#nodes.has(name);
  }

  /** All that were defined, in the order of their names. */
  get names(): string[] {
    return [...this.#setups.keys()].filter((name) => !this.#retired.has(name)).sort();
  }

  /** Nodes whose process lives. */
  get alive(): LabNode[] {
    return [...this.#nodes.values()].filter(({ runtime, name }) =>
      this.machine(name).running && this.machine(name).runtime === runtime
    ).sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** Founders that know each other by `cluster.join`, running and with a leader. */
  async found(...names: string[]): Promise<LabNode> {
    const join = names.map(addressOf);
    for (const name of names) {
      if (!this.#setups.has(name)) this.define(name, { join: names.length > 1 ? join : [] });
    }
    this.start(...names);
    return await this.leader(names);
  }

  /** Waits until one of these leads and the others follow it. */
  async leader(
    names: readonly string[] = this.names.filter((name) => this.machine(name).running),
    withinMs = 20_000,
  ): Promise<LabNode> {
    let leader: LabNode | undefined;
    await this.until(
      () => {
        const nodes = names.filter((name) => this.has(name)).map((name) => this.node(name));
        if (nodes.length < names.length) return false;
        leader = nodes.find(({ isLeading }) => isLeading);
        return leader !== undefined &&
          nodes.every(({ cluster: { root } }) =>
            root?.leader?.replica === leader!.root.replica && root.term === leader!.root.term
          );
      },
      withinMs,
      () => `a leader of ${names}: ${this.describe()}`,
    );
    return leader!;
  }

  followers(): LabNode[] {
    return this.alive.filter((node) => node.cluster.root !== undefined && !node.isLeading);
  }

  // -------------------------------------------------------------------------------------------
  // Time

  async pass(ms: number): Promise<void> {
    await this.simulation.run({ forMs: ms });
  }

  /** Runs until it is true; `what` says what was waited for. */
  async until(
    condition: () => boolean,
    withinMs = 20_000,
    what: () => string = () => String(condition),
  ): Promise<void> {
    if (condition()) return;
    const endMs = this.simulation.nowMs + withinMs;
    try {
      await this.simulation.run({ until: condition, untilMs: endMs });
    } catch (error) {
      if (this.simulation.nowMs < endMs) throw error;
      assert.fail(`not within ${withinMs} ms: ${what()}\n${this.describe()}`);
    }
  }

  async wait<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    return await this.simulation.wait(promise, { forMs: withinMs });
  }

  /** In virtual time, whatever becomes of the machines. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.simulation.at(this.simulation.nowMs + ms, resolve));
  }

  /** What work in a node's process gives; undefined when the process ends before. */
  async orDead<T>(node: LabNode, work: Promise<T>): Promise<T | undefined> {
    const machine = this.machine(node.name);
    const { process } = machine;
    let over = false;
    const death = (async () => {
      while (!over && !process.dead) await this.sleep(50);
      return undefined;
    })();
    try {
      return await Promise.race([work, death]);
    } finally {
      over = true;
    }
  }

  /** How a promise ends that is expected to fail. */
  async failure(promise: Promise<unknown>, withinMs = 60_000): Promise<CoveyError> {
    return await this.wait(caught(promise), withinMs);
  }

  describe(): string {
    const nodes = [...this.#nodes.values()].map((node) => {
      const { root, problem } = node.cluster;
      if (!this.machine(node.name).running) return `${node.name}: down`;
      if (root === undefined) return `${node.name}: ${node.failure?.message ?? problem}`;
      const { role, term, leader, committed, applied, configuration } = root.status();
      return `${node.name}: replica ${root.replica} ${role}, term ${term}, leader ${leader}, ` +
        `committed ${committed}, applied ${applied}, voters ${configuration.voters}, learners ` +
        `${configuration.learners}${root.stopped === undefined ? "" : `, ${root.stopped.message}`}`;
    });
    return `seed ${this.simulation.seed}, ${this.simulation.nowMs} ms\n  ${nodes.join("\n  ")}`;
  }

  // -------------------------------------------------------------------------------------------
  // Proposals and what was applied

  nextId(prefix = "c"): string {
    return `${prefix}${++this.#nextId}`;
  }

  /** Proposes and remembers how it ends. */
  propose(
    node: LabNode,
    { id = this.nextId(), bytes = 0, ...options }: RequestOptions & {
      id?: string;
      bytes?: number;
    } = {},
  ): Promise<Operation> {
    const operation: Operation = {
      id,
      node: node.name,
      startedMs: this.simulation.nowMs,
      endedMs: Infinity,
    };
    this.operations.push(operation);
    return node.root.propose(commandBytes(id, bytes), options).then((result) => {
      operation.result = result;
    }, (error: unknown) => {
      assert.ok(error instanceof CoveyError, `a proposal ended with ${String(error)}`);
      operation.error = error;
    }).then(() => {
      operation.endedMs = this.simulation.nowMs;
      return operation;
    });
  }

  /** Proposes some, and expects them to be applied. */
  async put(node: LabNode, count: number, bytes = 0): Promise<void> {
    const all = Promise.all(Array.from({ length: count }, () => this.propose(node, { bytes })));
    for (const { error } of await this.wait(all)) if (error !== undefined) throw error;
  }

  /** State machine safety: what is at an index is the same everywhere and for ever. */
  applied(name: string, { index, id }: { readonly index: number; readonly id: string }): void {
    const known = this.#byIndex.get(index);
    if (known === undefined) {
      assert.equal(this.#byId.get(id), undefined, `${id} is applied twice, by ${name} at ${index}`);
      this.#byIndex.set(index, id);
      this.#byId.set(id, index);
    } else assert.equal(id, known, `${name} applied another command at ${index}`);
  }

  /** Another cluster begins, with a history of its own. */
  forgetHistory(): void {
    this.#byIndex.clear();
    this.#byId.clear();
    this.operations.length = 0;
  }

  /** Where a command was applied, by anybody. */
  indexOf(id: string): number | undefined {
    return this.#byId.get(id);
  }

  /** What every ended operation said must be true; to be called when the cluster has settled. */
  checkOperations(): { ok: number; refused: number; unknown: number } {
    const counts = { ok: 0, refused: 0, unknown: 0 };
    for (const { id, result, error, node } of this.operations) {
      if (result !== undefined) {
        counts.ok++;
        assert.equal(this.#byId.get(id), result.index, `${id} of ${node} was acknowledged`);
      } else if (error?.sent === false) {
        counts.refused++;
        assert.equal(
          this.#byId.get(id),
          undefined,
          `${id} of ${node} was refused: ${error.message}`,
        );
      } else counts.unknown++;
    }
    return counts;
  }

  /** All living nodes have applied the same. */
  async converged(names?: readonly string[], withinMs = 30_000): Promise<void> {
    const nodes = (): LabNode[] =>
      names === undefined ? this.alive : this.alive.filter(({ name }) => names.includes(name));
    const count = names?.length ??
      this.simulation.machines.filter(({ name, running }) => running && this.#setups.has(name))
        .length;
    await this.until(
      () => {
        const all = nodes();
        if (all.length < count) return false;
        const most = Math.max(...all.map(({ cluster: { root } }) => root?.committed ?? 0));
        return all.every(({ cluster: { root } }) =>
          root !== undefined && root.applied === most && root.leader !== undefined
        );
      },
      withinMs,
      () => "convergence",
    );
    const [first, ...others] = nodes();
    for (const other of others) {
      assert.deepEqual(other.machine.commands, first.machine.commands, `${other.name} differs`);
    }
  }

  // -------------------------------------------------------------------------------------------
  // From outside

  /** Of a machine that is no node. */
  get outsideRuntime(): Runtime {
    return this.simulation.machine("outside", { boot: () => new Promise(() => {}) }).runtime;
  }

  /** Calls from there. */
  get outsider(): NodeRpc {
    if (this.#clientRpc !== undefined) return this.#clientRpc;
    const runtime = this.outsideRuntime;
    const server = new RpcServer({
      net: runtime.net,
      clock: runtime.clock,
      registry: new ServiceRegistry(),
    });
    return this.#clientRpc = new NodeRpc({
      runtime,
      server,
      limits: rpcLimitsDefault,
      counters: new RpcCounters(),
    });
  }

  channel(name: string): Channel {
    return this.outsider.channel(addressOf(name), { peer: "covey", ...dial });
  }

  operator(name: string): Client<typeof Raft> {
    return createClient(Raft, this.channel(name));
  }

  transport(name: string): Client<typeof Transport> {
    return createClient(Transport, this.channel(name));
  }

  // -------------------------------------------------------------------------------------------
  // Logs

  logger(name: string): Logger {
    const log = (level: LogLevel) => (message: string, fields: LoggedLine["fields"] = {}): void => {
      const lines = this.lines.get(name) ?? [];
      this.lines.set(name, lines);
      lines.push({ atMs: this.simulation.nowMs, level, message, fields });
    };
    const logger: Logger = {
      trace: () => {},
      debug: log("debug"),
      info: log("info"),
      warning: log("warning"),
      error: log("error"),
      enabled: () => true,
      child: () => logger,
    };
    return logger;
  }

  /** Lines of a node whose message or a field matches. */
  logged(name: string, pattern: RegExp): LoggedLine[] {
    return (this.lines.get(name) ?? []).filter(({ message, fields }) =>
      pattern.test(message) || Object.values(fields).some((value) => pattern.test(String(value)))
    );
  }
}

/** The error of what must fail. */
export async function caught(promise: Promise<unknown>): Promise<CoveyError> {
  const ended = await promise.then(() => undefined, (error: unknown) => error);
  assert.ok(ended instanceof CoveyError, `it ended with ${String(ended)}`);
  return ended;
}

export function addressOf(name: string): string {
  return `tcp://${name}:${meshPort}`;
}

/** In the order of their names. */
export function nodeIdOf(name: string): string {
  let hex = "";
  for (const letter of name) hex += letter.charCodeAt(0).toString(16).padStart(2, "0");
  return hex.padEnd(32, "0").slice(0, 32);
}
