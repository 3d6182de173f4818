/**
 * The program of one machine: a whole node, its service, and clients of all the others. It stops
 * and starts its node now and then, as an operator would; what the nemesis does comes on top.
 */
import type { Prng } from "../../../src/base/prng.ts";
import { formatAddress } from "../../../src/base/address.ts";
import { createLog } from "../../../src/log.ts";
import { Node } from "../../../src/node.ts";
import type { Runtime, Timer } from "../../../src/runtime/port.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import type { SimProcess } from "../../../src/runtime/sim/process.ts";
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";
import type { Channel } from "../../../src/ttrpc/channel.ts";
import { TestService } from "../../gen/covey/test/v1/test_pb.ts";
import { describe, type Ledger } from "./ledger.ts";
import { Observer } from "./observer.ts";
import { perform } from "./operations.ts";
import { drawOperation, type RunPlan } from "./plan.ts";
import { simulatedHandlers } from "./service.ts";
import { checkSigns } from "./signs.ts";
import { meshPort, nodeConfig } from "../node_config.ts";
import { sleep } from "../sleep.ts";
import { limitStop } from "../stop_limit.ts";

/** How often each machine looks at its own state. */
const checkEveryMs = 200;
/** A stop may take this much longer than its drain: files are closed, timers are late. */
const stopSlackMs = 300;
/** Clients get so long to notice a stop, whatever the drain. */
const partingMs = 1_000;

/** What all agents of a run share. */
export interface World {
  readonly simulation: Simulation;
  readonly ledger: Ledger;
  readonly plan: RunPlan;
  /** The node id of each machine, from its first start on. */
  readonly nodeIds: Map<string, string>;
  readonly malformedHost: string;
  /** No new operations. */
  rests: boolean;
  /** Nodes stay up: no more stops. */
  calm: boolean;
}

export class Agent {
  readonly world: World;
  readonly name: string;
  readonly runtime: Runtime;
  readonly process: SimProcess;
  readonly observer: Observer;
  readonly random: Prng;
  node: Node | undefined = undefined;
  /** By target and kind of peer. */
  channels: Map<string, Channel> = new Map();
  #stopping = false;
  #checkedMs = 0;
  #checks: Timer | undefined = undefined;

  constructor(world: World, machine: SimMachine) {
    const { simulation, ledger } = world;
    this.world = world;
    this.name = machine.name;
    this.process = machine.process;
    this.observer = new Observer({
      simulation,
      ledger,
      runtime: machine.runtime,
      process: machine.process,
      malformedHost: world.malformedHost,
      isCalm: () => world.calm,
    });
    this.runtime = this.observer.runtime;
    this.random = simulation.random(`${machine.name} ${machine.process.pid}`);
  }

  get alive(): boolean {
    return !this.process.dead;
  }

  async run(): Promise<void> {
    this.#checkSoon();
    void this.#work();
    for (let starts = 0;; starts++) {
      await this.#start();
      if (starts > 0) this.observer.mark("node restarted in its process");
      const { stopEveryMs } = this.world.plan;
      const stopAtMs = this.runtime.clock.monotonicMs() +
        stopEveryMs * (0.5 + this.random.fraction());
      while (!this.world.calm && this.runtime.clock.monotonicMs() < stopAtMs) {
        await sleep(this.runtime, 500);
      }
      if (this.world.calm) return await new Promise<void>(() => {});
      await this.stop();
      await sleep(this.runtime, this.random.between(10, 1500));
    }
  }

  /** Stops the node; it must end within its drain. */
  async stop(): Promise<void> {
    const { node, observer } = this;
    const { ledger } = this.world;
    if (node === undefined) return;
    this.node = undefined;
    this.#stopping = true;
    for (const operation of ledger.running) {
      if (operation.process === this.process) operation.closed = true;
    }
    let stopped = false;
    const { drain_timeout } = this.world.plan.rpc.get(this.name)!;
    // Without anything under way only the clients are waited for: they must know that it leaves.
    const isIdle =
      [...observer.open].every(({ side, link, paused }) =>
        side === "client" || (!paused && link.machine.callCount === 0 &&
          link.machine.output.queuedBytes === 0)
      ) && !this.process.stuck;
    const waitMs = isIdle ? Math.min(partingMs, drain_timeout) : drain_timeout;
    const served = [...observer.open].find(({ side }) => side === "server")?.link.counters;
    const callsBefore = served?.callsTotal ?? 0;
    const { clock } = this.runtime;
    const fail = (): void =>
      ledger.verdict.check(stopped, "a node stops within its drain", () => this.name);
    let limit = limitStop(clock, waitMs + stopSlackMs, () => {
      // What a client sent before it knew is taken, and has the whole drain; so has who got stuck.
      if (isIdle && ((served?.callsTotal ?? 0) > callsBefore || this.process.stuck)) {
        limit = limitStop(clock, drain_timeout, fail);
      } else fail();
    });
    await node.stop();
    stopped = true;
    limit.cancel();
    this.#stopping = false;
    ledger.verdict.check(
      node.state === "stopped" && node.status().modules.rpc.calls === 0,
      "a stopped node has no call",
      () => `${this.name}: ${JSON.stringify(node.status().modules.rpc)}`,
    );
    // Sockets tell their end in an event of their own.
    this.runtime.clock.timer(5, () => {
      if (this.node !== undefined) return;
      for (const { name, link } of observer.open) {
        ledger.verdict.check(!link.isOpen, "a stopped node has no connection", name);
      }
    }, undefined);
  }

  /** The channel to a machine; made when there is none. */
  channel(target: string, covey: boolean): Channel {
    const key = `${target} ${covey}`;
    const known = this.channels.get(key);
    if (known !== undefined && known.state !== "closed") return known;
    const channel = this.#newChannel(target, covey);
    this.channels.set(key, channel);
    return channel;
  }

  /** Closes the channel to a machine; the next call makes a new one. */
  replaceChannel(target: string, covey: boolean): void {
    for (const operation of this.world.ledger.running) {
      const { client, target: to, covey: kind } = operation;
      if (client === this.name && to === target && kind === covey) operation.closed = true;
    }
    this.channel(target, covey).close();
  }

  #newChannel(target: string, covey: boolean): Channel {
    const { plan } = this.world;
    return this.node!.rpc.channel(
      formatAddress({ kind: "tcp", host: target, port: meshPort }),
      {
        peer: covey ? "covey" : "any",
        dialTimeoutMs: plan.dialTimeoutMs,
        backoff: { firstMs: 20, mostMs: plan.backoffMostMs },
        waitForReady: this.random.chance(0.3),
      },
    );
  }

  async #start(): Promise<void> {
    const { world, runtime, name } = this;
    const { ledger } = world;
    const config = nodeConfig(runtime, { name }, {
      // Consensus has a simulation of its own.
      raft: { enabled: false },
      kv: { enabled: false },
      rpc: world.plan.rpc.get(name)!,
    });
    const log = await createLog(runtime, { level: "error", node: name, format: "none" });
    const node = await Node.start({ runtime, config, dev: true, admin: false, log });
    const known = world.nodeIds.get(name);
    ledger.verdict.check(
      known === undefined || known === node.nodeId,
      "a restarted node keeps its node id",
      () => `${name} was ${known} and is ${node.nodeId}`,
    );
    world.nodeIds.set(name, node.nodeId);
    this.channels = new Map();
    this.observer.counters.clear();
    this.#serve(node);
    this.node = node;
  }

  #serve(node: Node): void {
    node.rpc.serve(
      TestService,
      simulatedHandlers({
        ledger: this.world.ledger,
        runtime: this.runtime,
        process: this.process,
        whereabouts: () => this.observer.whereabouts,
      }),
    );
  }

  /** Begins operations until the world rests. */
  async #work(): Promise<void> {
    const { world, random, runtime } = this;
    const { plan } = world;
    let withdrawIn = plan.withdrawEveryMs;
    while (!world.rests) {
      const gapMs = random.between(1, plan.gapMs * 2);
      await sleep(runtime, gapMs);
      const { node } = this;
      if (node === undefined || world.rests) continue;
      withdrawIn -= gapMs;
      if (withdrawIn < 0 && !world.calm) {
        withdrawIn = plan.withdrawEveryMs;
        this.#withdraw(node);
      }
      const burst = random.chance(0.06) ? random.between(5, 30) : 1;
      const target = random.pick(plan.names.filter((name) => name !== this.name));
      for (let at = 0; at < burst; at++) this.#begin(target);
    }
  }

  #begin(target: string): void {
    const { world, random, runtime } = this;
    const drawn = drawOperation(random, world.plan);
    const ownChannel = random.chance(0.02);
    const channel = ownChannel
      ? this.#newChannel(target, drawn.covey)
      : this.channel(target, drawn.covey);
    const operation = world.ledger.begin(drawn, {
      client: this.name,
      target,
      process: this.process,
      startedMs: runtime.clock.monotonicMs(),
    });
    // Begun while the node drains, or by a channel that is about to be closed.
    if (this.#stopping) operation.closed = true;
    const mark = this.observer.mark.bind(this.observer);
    void perform({ runtime, ledger: world.ledger, channel, operation, mark });
    if (!ownChannel) return;
    operation.closed = true;
    runtime.clock.timer(random.between(1, 60), () => {
      if (!operation.ended) this.observer.mark("channel closed with calls in flight");
      channel.close();
    }, undefined);
  }

  #withdraw(node: Node): void {
    this.observer.mark("service withdrawn");
    node.rpc.withdraw(TestService);
    this.runtime.clock.timer(this.random.between(5, 400), () => {
      if (this.node === node) this.#serve(node);
    }, undefined);
  }

  /** Its own timers end, so that what still happens is the node's. */
  rest(): void {
    this.#checks?.cancel();
  }

  #checkSoon(): void {
    this.#checks = this.runtime.clock.timer(checkEveryMs, () => {
      this.#check();
      this.#checkSoon();
    }, undefined);
  }

  /** What can only be seen as time passes. */
  #check(): void {
    const nowMs = this.runtime.clock.monotonicMs();
    // A machine that was paused has heard nothing, and could not.
    const slept = nowMs - this.#checkedMs > checkEveryMs * 2;
    this.#checkedMs = nowMs;
    checkSigns(this.observer, nowMs, slept);
    for (const channel of this.channels.values()) {
      if (channel.state === "backoff") this.observer.mark("back-off");
    }
    const { executions, verdict } = this.world.ledger;
    for (const execution of [...executions]) {
      if (execution.process !== this.process) continue;
      const { signal, deadlineMs, finishedMs, operation } = execution;
      const isFinished = finishedMs !== Infinity;
      if (signal.aborted) {
        if (!isFinished) this.observer.mark("handler ended after its call");
        else executions.delete(execution);
        continue;
      }
      if (slept) continue;
      verdict.check(
        nowMs < deadlineMs + checkEveryMs,
        "a handler's signal fires at its deadline",
        () => describe(operation),
      );
      verdict.check(
        nowMs < finishedMs + checkEveryMs,
        "a handler's signal fires when it finished",
        () => describe(operation),
      );
    }
  }
}
