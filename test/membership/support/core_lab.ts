/**
 * Many members in virtual time: the protocol core alone, on a network of links that lose, hold and
 * reset, with nothing else around it. What real nodes add is what the simulation of whole nodes is for.
 */
import { Prng } from "../../../src/base/prng.ts";
import { Configuration, type Cut } from "../../../src/membership/core/configuration.ts";
import { type Acceptor, freshAcceptor } from "../../../src/membership/core/consensus.ts";
import type { Answered } from "../../../src/membership/core/gate.ts";
import { Joining, lanJoin } from "../../../src/membership/core/joining.ts";
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";
import { type Durable, Membership } from "../../../src/membership/core/membership.ts";
import type { Message } from "../../../src/membership/core/message.ts";
import { lanOptions, type ProtocolOptions } from "../../../src/membership/core/options.ts";
import { lanProbes, type ProbeOptions, Prober } from "../../../src/membership/core/prober.ts";
import { Heap, type Timed } from "./heap.ts";

export interface LabOptions {
  readonly seed?: number;
  readonly protocol?: ProtocolOptions;
  readonly probes?: ProbeOptions;
  /** One way: at least so much, and up to so much more. */
  readonly latencyMs?: number;
  readonly jitterMs?: number;
}

interface Event extends Timed {
  readonly run: () => void;
}

/** What is between two nodes, one way. */
export interface Path {
  /** Nothing passes. */
  isCut: boolean;
  /** Probability that a segment is lost. */
  loss: number;
}

/** How long it takes until a segment is sent again, at first. */
const resendMs = 200;
const resendMsMax = 5_000;
/** A link on which nothing passes for so long is given up. */
const deadMs = 15_000;

export class CoreLab {
  readonly prng: Prng;
  readonly protocol: ProtocolOptions;
  readonly probes: ProbeOptions;
  readonly nodes = new Map<string, CoreNode>();
  nowMs = 0;
  events = 0;
  messages = 0;
  readonly #latencyMs: number;
  readonly #jitterMs: number;
  readonly #heap = new Heap<Event>();
  readonly #configurations = new Map<string, Configuration>();
  #order = 0;
  /** What passes between two nodes; the last rule that says something counts. */
  path: (from: string, to: string) => Path = () => clear;

  constructor(options: LabOptions = {}) {
    this.prng = new Prng(options.seed ?? 1);
    this.protocol = options.protocol ?? lanOptions;
    this.probes = options.probes ?? lanProbes;
    this.#latencyMs = options.latencyMs ?? 0.5;
    this.#jitterMs = options.jitterMs ?? 1;
  }

  at(delayMs: number, run: () => void): void {
    this.#heap.push({ atMs: this.nowMs + delayMs, order: this.#order++, run });
  }

  latency(): number {
    return this.#latencyMs + this.prng.fraction() * this.#jitterMs;
  }

  /** Nodes in one process would share them, too. */
  after(configuration: Configuration, cut: Cut): Configuration {
    const key = `${configuration.epoch}/${configuration.digestAfter(cut)}`;
    let next = this.#configurations.get(key);
    if (next === undefined) {
      next = configuration.after(cut);
      this.#configurations.set(key, next);
    }
    return next;
  }

  /** Runs what is due within this time, or until it is so. */
  run(forMs: number, isSo: () => boolean = () => false): boolean {
    const untilMs = this.nowMs + forMs;
    for (;;) {
      if (isSo()) return true;
      const next = this.#heap.first;
      if (next === undefined || next.atMs > untilMs) break;
      this.#heap.pop();
      this.nowMs = next.atMs;
      this.events++;
      next.run();
    }
    this.nowMs = untilMs;
    return isSo();
  }

  member(name: string, role: MemberRole = MemberRole.core): Member {
    const nodeId = name.padStart(32, "0");
    return {
      address: `tcp://${name}:7946`,
      nodeId,
      incarnation: BigInt(this.prng.next()) << 32n | BigInt(this.prng.next()),
      name,
      role,
      metadata: new Map(),
    };
  }

  /** A cluster that is there already. */
  found(names: readonly string[]): CoreNode[] {
    const members = names.map((name) => this.member(name));
    const configuration = Configuration.first(1n, members, this.protocol.rings);
    return members.map((member) => {
      const node = new CoreNode(this, member);
      node.start({ configuration, acceptor: freshAcceptor });
      return node;
    });
  }

  join(name: string, seeds: readonly string[], role: MemberRole = MemberRole.core): CoreNode {
    const node = new CoreNode(this, this.member(name, role));
    node.join(seeds);
    return node;
  }

  get running(): CoreNode[] {
    return [...this.nodes.values()].filter(({ isRunning }) => isRunning);
  }
}

export const clear: Path = { isCut: false, loss: 0 };

interface Link {
  /** Before this nothing more arrives: what is sent later does not overtake. */
  clearMs: number;
  /** Ends what is on its way when it is broken. */
  generation: number;
}

export class CoreNode {
  readonly lab: CoreLab;
  member: Member;
  membership: Membership | undefined = undefined;
  prober: Prober | undefined = undefined;
  joining: Joining | undefined = undefined;
  isRunning = true;
  isPaused = false;
  /** Configurations in the order in which they were installed. */
  readonly views: Configuration[] = [];
  onDurable: ((durable: Durable) => void) | undefined = undefined;
  durable: { configuration: Configuration; acceptor: Acceptor } | undefined = undefined;
  readonly #links = new Map<string, Link>();
  readonly #dialing = new Set<string>();
  #wakeMs = Infinity;
  #joins = 0;
  readonly #joiners = new Map<number, CoreNode>();
  readonly #asking = new Map<CoreNode, number>();
  #life = 0;

  constructor(lab: CoreLab, member: Member) {
    this.lab = lab;
    this.member = member;
    lab.nodes.set(member.address, this);
  }

  get address(): string {
    return this.member.address;
  }

  get view(): Configuration | undefined {
    return this.membership?.isEvicted === false ? this.membership.configuration : undefined;
  }

  start(durable: Durable, isStored = false): void {
    const { lab } = this;
    this.joining?.joined();
    this.joining = undefined;
    this.isRunning = true;
    this.membership = new Membership(this.member, durable, lab.protocol, lab.nowMs, {
      isStored,
      next: (configuration, cut) => lab.after(configuration, cut),
    });
    this.prober = new Prober(lab.probes, lab.nowMs);
    this.views.push(durable.configuration);
    this.#watch();
    this.#settle();
  }

  join(seeds: readonly string[]): void {
    this.joining = new Joining(this.member, seeds, lanJoin, this.lab.prng.fork(), this.lab.nowMs);
    this.#wake(this.lab.nowMs);
  }

  /** The process ends; its peers see their links reset. */
  crash(): void {
    this.isRunning = false;
    this.membership = undefined;
    this.prober = undefined;
    this.joining = undefined;
    this.#life++;
    this.#wakeMs = Infinity;
    for (const address of [...this.#links.keys()]) this.#reset(address);
    this.#joiners.clear();
  }

  /** As the same member, with what was on its disk. */
  restart(): void {
    const { durable } = this;
    if (durable === undefined) throw new Error("nothing was on the disk");
    this.start(durable, true);
  }

  #reset(address: string): void {
    this.#links.delete(address);
    this.membership?.unlinked(address);
    const other = this.lab.nodes.get(address);
    this.lab.at(this.lab.latency(), () => other?.unlinked(this.address));
  }

  unlinked(address: string): void {
    if (!this.#links.delete(address)) return;
    this.membership?.unlinked(address);
    this.#settle();
  }

  #isAlive(life: number): boolean {
    return this.isRunning && this.#life === life;
  }

  #wake(atMs: number): void {
    if (atMs >= this.#wakeMs) return;
    this.#wakeMs = atMs;
    const life = this.#life;
    this.lab.at(Math.max(0, atMs - this.lab.nowMs), () => {
      if (!this.#isAlive(life) || this.#wakeMs !== atMs) return;
      this.#wakeMs = Infinity;
      if (this.isPaused) return this.#wake(this.lab.nowMs + 10);
      this.#tick();
    });
  }

  #tick(): void {
    const { nowMs } = this.lab;
    this.joining?.tick(nowMs);
    const { membership, prober } = this;
    if (membership !== undefined && prober !== undefined) {
      if (nowMs >= prober.dueMs) {
        for (const { to, sequence } of prober.tick(nowMs)) this.#probe(to, sequence);
        this.#dial();
      }
      this.#judge();
      membership.tick(nowMs);
    }
    this.#settle();
  }

  #judge(): void {
    for (const { member, isHealthy } of this.prober?.take() ?? []) {
      this.membership?.verdict(member, isHealthy);
    }
  }

  #probe(to: string, sequence: number): void {
    const { configuration } = this.membership!;
    const id = { epoch: configuration.epoch, digest: configuration.digest };
    const expected = configuration.memberAt(to);
    this.send(to, (other) => {
      const { membership } = other;
      if (membership === undefined || membership.isEvicted) return;
      if (expected?.incarnation !== other.member.incarnation) {
        const { member } = other;
        other.send(this.address, () => {
          if (member.incarnation !== expected?.incarnation) this.prober?.replaced(to);
        });
        return;
      }
      const { epoch, digest } = membership.configuration;
      membership.seen(this.address, id);
      other.settle();
      other.send(this.address, () => {
        this.prober?.answered(to, sequence);
        this.membership?.seen(to, { epoch, digest });
      });
    });
  }

  settle(): void {
    this.#settle();
  }

  /** Runs at the other node when it arrives, then does there what follows. */
  send(to: string, run: (other: CoreNode) => void): void {
    const { lab } = this;
    const other = lab.nodes.get(to);
    const link = this.#links.get(to);
    if (other === undefined || link === undefined) return;
    lab.messages++;
    const { generation } = link;
    let atMs = lab.nowMs + lab.latency();
    const { isCut, loss } = lab.path(this.address, to);
    let waitMs = resendMs;
    if (!isCut) {
      while (loss > 0 && lab.prng.chance(loss) && atMs - lab.nowMs < deadMs) {
        atMs += waitMs;
        waitMs = Math.min(2 * waitMs, resendMsMax);
      }
    }
    atMs = Math.max(atMs, link.clearMs);
    link.clearMs = atMs;
    const life = other.#life;
    const arrive = (): void => {
      if (this.#links.get(to)?.generation !== generation || !other.#isAlive(life)) return;
      const path = lab.path(this.address, to);
      if (path.isCut) {
        // It is sent again until it passes, or the link is given up.
        if (lab.nowMs - atMs > deadMs) return this.#reset(to);
        link.clearMs = Math.max(link.clearMs, lab.nowMs + resendMsMax / 10);
        lab.at(resendMsMax / 10, arrive);
        return;
      }
      if (other.isPaused) return lab.at(10, arrive);
      run(other);
      other.#settle();
    };
    lab.at(atMs - lab.nowMs, arrive);
  }

  #dial(): void {
    const { lab } = this;
    for (const to of this.membership?.peers ?? []) {
      if (this.#links.has(to) || this.#dialing.has(to)) continue;
      this.#dialing.add(to);
      const life = this.#life;
      lab.at(3 * lab.latency(), () => {
        this.#dialing.delete(to);
        const other = lab.nodes.get(to);
        if (!this.#isAlive(life) || other === undefined || !other.isRunning) return;
        if (lab.path(this.address, to).isCut || lab.path(to, this.address).isCut) return;
        if (this.#links.has(to) || other.membership === undefined) return;
        const generation = lab.events;
        this.#links.set(to, { clearMs: lab.nowMs, generation });
        other.#links.set(this.address, { clearMs: lab.nowMs, generation });
        this.membership?.linked(to);
        other.membership.linked(this.address);
        this.#settle();
        other.#settle();
      });
    }
  }

  #watch(): void {
    const { membership } = this;
    if (membership === undefined) return;
    this.prober?.watch(membership.subjects, this.lab.nowMs);
    this.#dial();
  }

  /** Does what the machines want done. */
  #settle(): void {
    if (!this.isRunning) return;
    this.#sendJoins();
    const { membership, lab } = this;
    if (membership === undefined) return this.#wake(this.joining?.dueMs ?? Infinity);
    const life = this.#life;
    this.#judge();
    membership.tick(lab.nowMs);
    const { durable, messages, answers, installed } = membership.take();
    if (durable !== undefined) {
      this.onDurable?.(durable);
      const { configuration, acceptor, number } = durable;
      lab.at(0.3, () => {
        if (!this.#isAlive(life)) return;
        this.durable = { configuration, acceptor };
        membership.stored(number);
        this.#settle();
      });
    }
    for (const { to, message } of messages) this.#pass(to, message);
    for (const answer of answers) this.#answer(answer);
    for (const { configuration } of installed) this.views.push(configuration);
    if (installed.length > 0) this.#watch();
    this.#wake(Math.min(membership.dueMs, this.prober?.dueMs ?? Infinity));
  }

  #pass(to: string, message: Message): void {
    this.send(to, (other) => other.membership?.receive(this.address, message));
  }

  #sendJoins(): void {
    const { lab, joining } = this;
    for (const message of joining?.take() ?? []) {
      const other = lab.nodes.get(message.to);
      const life = this.#life;
      const back = (run: (joining: Joining) => void): void => {
        lab.at(lab.latency(), () => {
          if (!this.#isAlive(life) || this.joining !== joining) return;
          run(joining!);
          this.#settle();
        });
      };
      lab.messages++;
      lab.at(lab.latency(), () => {
        const { isCut } = lab.path(this.address, message.to);
        if (isCut) return;
        if (other?.isRunning !== true || other.membership?.isEvicted !== false) {
          return back((one) => one.failed(message.to, "it is not there", lab.nowMs));
        }
        const { configuration } = other.membership;
        if (message.kind === "who") {
          const { epoch, digest, members } = configuration;
          const addresses = configuration.gatekeepersOf(this.address)
            .map((place) => members[place].address);
          const gate = { configuration: { epoch, digest }, addresses };
          return back((one) => one.gatekeepers(message.to, gate, lab.nowMs));
        }
        const id = ++other.#joins;
        other.#joiners.set(id, this);
        other.membership.join({ id, joiner: message.joiner, configuration: message.configuration });
        other.#settle();
      });
    }
  }

  #answer({ id, answer }: Answered): void {
    const { lab } = this;
    const joiner = this.#joiners.get(id);
    this.#joiners.delete(id);
    lab.messages++;
    lab.at(lab.latency(), () => {
      const joining = joiner?.joining;
      if (joiner === undefined || joining === undefined) return;
      if (answer.kind === "joined") {
        joiner.start({ configuration: answer.configuration, acceptor: freshAcceptor });
        return;
      }
      if (answer.kind === "moved") {
        const { epoch, digest, members } = answer.configuration;
        const addresses = answer.gatekeepers.map((place) => members[place].address);
        joining.moved(this.address, { configuration: { epoch, digest }, addresses }, lab.nowMs);
      } else joining.failed(this.address, answer.why, lab.nowMs);
      joiner.#settle();
    });
  }
}
