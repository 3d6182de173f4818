/** What all parts of one run share: time, chance, the hosts, and what is observed. */
import { Prng } from "../../../src/base/prng.ts";
import { Configuration, type Cut } from "../../../src/membership/core/configuration.ts";
import { freshAcceptor } from "../../../src/membership/core/consensus.ts";
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";
import type { Message } from "../../../src/membership/core/message.ts";
import { Coverage } from "../../../src/runtime/sim/coverage.ts";
import { EventQueue } from "../../../src/runtime/sim/event_queue.ts";
import { replayLine } from "../seeds/subject.ts";
import { Violation } from "../seeds/verdict.ts";
import { Host } from "./host.ts";
import { Ledger } from "./ledger.ts";
import { type Mark, marks } from "./marks.ts";
import { type Link, Network } from "./network.ts";
import { drawPlan, type RunPlan } from "./plan.ts";
import type { Process } from "./process.ts";
import { Tracer } from "./tracer.ts";

/** Events of one moment: more of them are a machine that runs in circles. */
const momentMost = 200_000;
/** Between the end of a leave and the end of the process. */
const lingerMs = 500;
/** Messages that may come a second time. */
const rememberedMost = 64;

interface Remembered {
  readonly link: Link;
  readonly from: Process;
  readonly arrive: () => void;
}

export class World {
  readonly seed: number;
  readonly plan: RunPlan;
  readonly random: Prng;
  readonly network: Network;
  readonly ledger: Ledger;
  readonly coverage = new Coverage(marks);
  readonly hosts: Host[] = [];
  readonly tracer: Tracer;
  nowMs = 0;
  events = 0;
  faults = 0;
  /** The longest that a joiner waited at a gatekeeper. */
  parkedMsMost = 0;
  /** Called when the others have decided something for the first time. */
  onDecided: (before: Configuration, after: Configuration, left: readonly Member[]) => void =
    () => {};
  readonly remembered: Remembered[] = [];
  readonly #queue = new EventQueue();
  readonly #byAddress = new Map<string, Host>();
  readonly #configurations = new Map<string, Configuration>();
  /** Node ids of those who were members once. */
  readonly #gone = new Set<string>();
  #moment = 0;

  constructor(seed: number, log: ((line: string) => void) | undefined) {
    this.seed = seed;
    const prng = new Prng(seed);
    this.plan = drawPlan(prng.fork());
    this.random = prng.fork();
    this.tracer = new Tracer(seed, log);
    this.network = new Network(this);
    this.ledger = new Ledger(this);
  }

  // -------------------------------------------------------------------------------------------
  // Time

  at(delayMs: number, run: () => void): void {
    this.#queue.add(this.nowMs + delayMs, call, run, null);
  }

  /** Runs what is due within this time. */
  run(forMs: number): void {
    const untilMs = this.nowMs + forMs;
    for (;;) {
      const next = this.#queue.peek();
      if (next === undefined || next.at > untilMs) break;
      this.#queue.pop();
      this.#moment = next.at === this.nowMs ? this.#moment + 1 : 0;
      this.check(this.#moment < momentMost, "time goes on", "a machine runs in circles");
      this.nowMs = next.at;
      this.events++;
      (next.argument as () => void)();
    }
    this.nowMs = untilMs;
  }

  /** Runs until it is so; that it is in time is an invariant. */
  until(invariant: string, forMs: number, isSo: () => boolean): void {
    const endMs = this.nowMs + forMs;
    while (!isSo()) {
      if (this.nowMs >= endMs) this.violate(invariant, `after ${forMs} ms\n${this.describe()}`);
      this.run(100);
    }
  }

  // -------------------------------------------------------------------------------------------
  // Judging

  violate(invariant: string, text: string): never {
    const when = `at ${this.nowMs.toFixed(3)} ms: ${text}`;
    throw new Violation(invariant, when, replayLine("membership", this.seed));
  }

  check(holds: boolean, invariant: string, text: string | (() => string)): void {
    if (!holds) this.violate(invariant, typeof text === "string" ? text : text());
  }

  mark(mark: Mark): void {
    this.coverage.mark(mark);
  }

  trace(what: number, who: number, detail: number, line: () => string): void {
    this.tracer.record(this.nowMs, what << 24 | who, detail, line);
  }

  describe(): string {
    const lines = this.hosts.map(({ name, process, isOn, hasLeft }) => {
      if (process === undefined) return `${name} ${hasLeft ? "left" : isOn ? "is down" : "is off"}`;
      const { view, joining, isPaused, machine } = process;
      const where = view === undefined
        ? `joins: ${joining?.problem}`
        : `${view.epoch} of ${view.size}: ${machine!.degraded(this.nowMs) ?? "well"}`;
      return `${name} ${isPaused ? "stands still " : ""}${where}`;
    });
    return lines.join("\n");
  }

  // -------------------------------------------------------------------------------------------
  // Hosts

  addHost(role: MemberRole): Host {
    const host = new Host(this, this.hosts.length, role);
    this.hosts.push(host);
    this.#byAddress.set(host.address, host);
    return host;
  }

  hostAt(address: string): Host {
    return this.#byAddress.get(address)!;
  }

  found(): void {
    const founders = this.plan.founders.map((role) => this.addHost(role));
    const members = founders.map(({ address, name, role, disk }) => ({
      ...{ address, name, role, nodeId: disk.nodeId },
      incarnation: this.drawIncarnation(),
      metadata: new Map(),
    }));
    const { rings } = this.plan.protocol;
    const configuration = Configuration.first(BigInt(this.seed), members, rings);
    this.ledger.founded(configuration);
    if (configuration.size === 2) this.mark("two members");
    for (const [at, host] of founders.entries()) {
      this.at(
        this.random.fraction() * 500,
        () => host.found(members[at], { configuration, acceptor: freshAcceptor }),
      );
    }
  }

  drawNodeId(): string {
    let text = "";
    for (let at = 0; at < 4; at++) text += this.random.next().toString(16).padStart(8, "0");
    return text;
  }

  drawIncarnation(): bigint {
    return BigInt(this.random.next()) << 32n | BigInt(this.random.next());
  }

  /** All others that have not left: who of them is a member is for the joiner to find out. */
  seedsFor(host: Host): string[] {
    const others = this.hosts.filter((other) => other !== host && !other.hasLeft)
      .map(({ address }) => address);
    for (let at = others.length - 1; at > 0; at--) {
      const other = this.random.below(at + 1);
      [others[at], others[other]] = [others[other], others[at]];
    }
    return others;
  }

  /** Nodes in one process share the configurations. */
  after(configuration: Configuration, cut: Cut): Configuration {
    const key = `${configuration.epoch}/${configuration.digest}/${configuration.digestAfter(cut)}`;
    let next = this.#configurations.get(key);
    if (next === undefined) {
      next = configuration.after(cut);
      this.#configurations.set(key, next);
    }
    return next;
  }

  // -------------------------------------------------------------------------------------------
  // What is seen

  sent(link: Link, from: Process, arrive: () => void, message: Message): void {
    if (message.kind === "view" || !this.random.chance(0.05)) return;
    if (this.remembered.push({ link, from, arrive }) > rememberedMost) this.remembered.shift();
  }

  parked(forMs: number): void {
    this.parkedMsMost = Math.max(this.parkedMsMost, forMs);
  }

  joined({ host, self }: Process): void {
    this.mark("joined");
    if (self!.role === MemberRole.leaf) this.mark("leaf joined");
    const before = this.ledger.head!.epoch;
    this.trace(3, host.index, before, () => `${host.name} is in`);
  }

  left(host: Host): void {
    this.mark("leave done");
    host.hasLeft = true;
    // What it has just told the others is still on its way.
    const { process } = host;
    this.at(lingerMs, () => {
      if (host.process === process && host.hasLeft) host.kill();
    });
  }

  decided(before: Configuration, after: Configuration, left: readonly Member[]): void {
    for (const { nodeId } of left) this.#gone.add(nodeId);
    for (const member of after.members) {
      if (!before.holds(member) && this.#gone.has(member.nodeId)) this.mark("rejoined");
    }
    this.onDecided(before, after, left);
  }

  get digest(): string {
    return this.tracer.digest();
  }
}

function call(run: () => void): boolean {
  run();
  return false;
}
