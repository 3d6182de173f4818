/** One member of the benchmark: the machines of the core, and what is done for them. */
import { Comeback } from "../src/membership/core/comeback.ts";
import type { Configuration } from "../src/membership/core/configuration.ts";
import { freshAcceptor } from "../src/membership/core/consensus.ts";
import type { Answered } from "../src/membership/core/gate.ts";
import { Joining, type JoinMessage } from "../src/membership/core/joining.ts";
import type { Member } from "../src/membership/core/member.ts";
import { Membership } from "../src/membership/core/membership.ts";
import type { Message } from "../src/membership/core/message.ts";
import { Prober } from "../src/membership/core/prober.ts";
import { type Lab, syncMs } from "./membership_lab.ts";
import { connectResendMs, type End, Link, Traffic } from "./membership_network.ts";

/** A dial: two ways for the connection, one for the first frame. */
const dialWays = 3;
/** Between two dials to one that could not be reached. */
const redialMs = 1_000;
export class LabNode implements End {
  readonly address: string;
  readonly traffic = new Traffic();
  isRunning = true;
  egressLoss = 0;
  ingressLoss = 0;
  member: Member;
  membership: Membership | undefined = undefined;
  evictions = 0;
  readonly #lab: Lab;
  readonly #comeback: Comeback;
  #prober: Prober | undefined = undefined;
  #joining: Joining | undefined = undefined;
  readonly #links = new Map<string, Link>();
  /** Peers without a link, and when they are dialled again. */
  readonly #missing = new Map<string, number>();
  #wakeMs = Infinity;
  #life = 0;
  #joins = 0;
  readonly #joiners = new Map<number, { readonly node: LabNode; readonly joining: Joining }>();
  #seeds: readonly string[] = [];
  #view: Configuration | undefined = undefined;

  constructor(lab: Lab, member: Member) {
    this.#lab = lab;
    this.member = member;
    this.address = member.address;
    this.#comeback = new Comeback(lab.profile.comeback, lab.prng.fork(), lab.nowMs);
  }

  get view(): Configuration | undefined {
    return this.#view;
  }

  start(configuration: Configuration): void {
    const lab = this.#lab;
    this.#comeback.joined(lab.nowMs);
    this.#joining?.joined();
    this.#joining = undefined;
    this.membership = new Membership(
      this.member,
      { configuration, acceptor: freshAcceptor },
      lab.profile.protocol,
      lab.nowMs,
      { next: (from, cut) => lab.after(from, cut) },
    );
    this.#prober = new Prober(lab.profile.probes, lab.nowMs);
    this.#watch();
    this.#settle();
  }

  join(seeds: readonly string[]): void {
    const lab = this.#lab;
    this.#seeds = seeds;
    this.#joining = new Joining(
      this.member,
      seeds,
      lab.profile.joins,
      lab.prng.fork(),
      lab.nowMs,
    );
    this.#wake(lab.nowMs);
  }

  /** The process ends; the peers see their links reset. */
  crash(): void {
    this.#stop();
    this.isRunning = false;
  }

  #stop(): void {
    this.#life++;
    this.#wakeMs = Infinity;
    this.#look(undefined);
    this.membership = undefined;
    this.#prober = undefined;
    this.#joining = undefined;
    this.#joiners.clear();
    this.#missing.clear();
    for (const link of [...this.#links.values()]) link.reset();
    this.#links.clear();
  }

  unlinked(address: string, link: Link): void {
    if (this.#links.get(address) !== link) return;
    this.#links.delete(address);
    if (this.membership === undefined) return;
    this.membership.unlinked(address);
    this.#missing.set(address, this.#lab.nowMs);
    this.#settle();
  }

  #linked(address: string, link: Link): void {
    this.#links.set(address, link);
    this.#missing.delete(address);
    this.membership?.linked(address);
    this.#settle();
  }

  #wake(atMs: number): void {
    if (atMs >= this.#wakeMs || atMs === Infinity) return;
    this.#wakeMs = atMs;
    const life = this.#life;
    this.#lab.clock.at(Math.max(0, atMs - this.#lab.nowMs), () => {
      if (this.#life !== life || this.#wakeMs !== atMs) return;
      this.#wakeMs = Infinity;
      this.#tick();
    });
  }

  #tick(): void {
    const { nowMs } = this.#lab;
    this.#comeback.tick(nowMs);
    this.#comeBack();
    this.#joining?.tick(nowMs);
    const prober = this.#prober;
    if (prober !== undefined && nowMs >= prober.dueMs) {
      for (const { to, sequence } of prober.tick(nowMs)) this.#probe(to, sequence);
      if (this.#missing.size > 0) this.#dial();
      this.#judge();
    }
    const { membership } = this;
    if (membership === undefined || membership.dueMs <= nowMs) this.#settle();
    else this.#wakeNext();
  }

  #judge(): void {
    for (const { member, isHealthy } of this.#prober?.take() ?? []) {
      this.membership?.verdict(member, isHealthy);
    }
  }

  #probe(to: string, sequence: number): void {
    const link = this.#links.get(to);
    const other = this.#lab.byAddress.get(to);
    if (link === undefined || other === undefined) return;
    const { configuration } = this.membership!;
    const expected = configuration.memberAt(to);
    link.send(this, this.#lab.probeBytes(configuration.epoch, sequence), () => {
      other.#probed(this, link, { configuration, expected, sequence });
    });
  }

  #probed(
    from: LabNode,
    link: Link,
    probe: {
      readonly configuration: Configuration;
      readonly expected: Member | undefined;
      readonly sequence: number;
    },
  ): void {
    const { membership } = this;
    if (membership === undefined) return;
    const { configuration: known, sequence, expected } = probe;
    const { configuration } = membership;
    const bytes = this.#lab.probeBytes(configuration.epoch, sequence);
    const { member } = this;
    link.send(this, bytes, () => {
      if (from.membership === undefined) return;
      if (member.incarnation !== expected?.incarnation) from.#prober?.replaced(this.address);
      else from.#prober?.answered(this.address, sequence);
      from.#judge();
      if (from.membership.configuration !== configuration) {
        from.membership.seen(this.address, configuration);
      }
      if (from.membership.dueMs <= this.#lab.nowMs) from.#settle();
    });
    if (known !== configuration) {
      membership.seen(from.address, known);
      this.#settle();
    }
  }

  /** Links to those that this node needs one to. */
  #watch(): void {
    const { membership } = this;
    if (membership === undefined) return;
    this.#prober?.watch(membership.subjects, this.#lab.nowMs);
    this.#missing.clear();
    for (const to of membership.peers) {
      if (!this.#links.has(to)) this.#missing.set(to, this.#lab.nowMs);
    }
    this.#dial();
  }

  #dial(): void {
    const { clock, network, byAddress } = this.#lab;
    for (const [to, atMs] of this.#missing) {
      if (atMs > clock.nowMs) continue;
      this.#missing.set(to, clock.nowMs + redialMs);
      const other = byAddress.get(to);
      if (other === undefined) continue;
      const life = this.#life;
      let delayMs = 0;
      for (let way = 0; way < dialWays; way++) {
        const [from, to] = way % 2 === 0 ? [this, other] : [other, this];
        const one = network.delivery(from, to, way < 2 ? connectResendMs : undefined);
        delayMs += one ?? Infinity;
      }
      if (delayMs === Infinity) continue;
      this.#missing.set(to, clock.nowMs + delayMs + redialMs);
      clock.at(delayMs, () => {
        if (this.#life !== life || this.#links.has(to) || other.membership === undefined) return;
        if (!this.isRunning || !other.isRunning) return;
        const link = new Link(network, this, other);
        this.#linked(to, link);
        other.#linked(this.address, link);
      });
    }
  }

  /** Does what the machines want done. */
  #settle(): void {
    this.#sendJoins();
    const { membership } = this;
    const lab = this.#lab;
    if (membership === undefined) return this.#wakeNext();
    membership.tick(lab.nowMs);
    const { durable, messages, answers, installed } = membership.take();
    if (durable !== undefined) {
      const life = this.#life;
      lab.clock.at(syncMs, () => {
        if (this.#life !== life) return;
        membership.stored(durable.number);
        this.#settle();
      });
    }
    for (const { to, message } of messages) this.#pass(to, message);
    for (const answer of answers) this.#answer(answer);
    if (membership.isEvicted) return this.#evicted();
    if (installed.length > 0) this.#watch();
    this.#look(membership.configuration);
    this.#wakeNext();
  }

  #wakeNext(): void {
    this.#wake(
      Math.min(
        this.membership?.dueMs ?? Infinity,
        this.#prober?.dueMs ?? Infinity,
        this.#joining?.dueMs ?? Infinity,
        this.#comeback.dueMs,
      ),
    );
  }

  #look(view: Configuration | undefined): void {
    if (this.#view === view) return;
    this.#lab.viewed(this.#view, view);
    this.#view = view;
  }

  #evicted(): void {
    const lab = this.#lab;
    const { members } = this.membership!.configuration;
    const others = members.map(({ address }) => address).filter((other) => other !== this.address);
    this.#stop();
    this.evictions++;
    if (!lab.rejoins) return;
    this.#seeds = others;
    this.#comeback.evicted(others, lab.nowMs);
    this.#comeBack();
    this.#wakeNext();
  }

  /** As somebody new, once enough of the others answer. */
  #comeBack(): void {
    const { byAddress, network, prng, clock } = this.#lab;
    for (const to of this.#comeback.take()) {
      const other = byAddress.get(to);
      const life = this.#life;
      if (other === undefined) continue;
      this.#call(other, () => {
        if (other.membership === undefined) return;
        network.carry(other, this, () => {
          if (this.#life !== life) return;
          this.#comeback.answered(to);
          this.#comeBack();
        });
      });
    }
    if (this.#comeback.phase !== "ready") return;
    this.#comeback.joined(clock.nowMs);
    const incarnation = BigInt(prng.next()) << 32n | BigInt(prng.next());
    this.member = { ...this.member, incarnation };
    this.join([prng.pick(this.#seeds), prng.pick(this.#seeds), prng.pick(this.#seeds)]);
  }

  /** On a connection of its own: nothing arrives before that is there. */
  #call(other: LabNode, arrive: () => void): void {
    const { network, clock } = this.#lab;
    const thereMs = network.delivery(this, other, connectResendMs);
    const backMs = network.delivery(other, this, connectResendMs);
    if (thereMs === undefined || backMs === undefined) return;
    clock.at(thereMs + backMs, () => network.carry(this, other, arrive));
  }

  #pass(to: string, message: Message): void {
    const link = this.#links.get(to);
    const other = this.#lab.byAddress.get(to);
    if (link === undefined || other === undefined) return;
    link.send(this, this.#lab.bytesOf(message), () => {
      if (other.membership === undefined) return;
      other.membership.receive(this.address, message);
      other.#settle();
    });
  }

  #sendJoins(): void {
    const joining = this.#joining;
    if (joining === undefined) return;
    for (const message of joining.take()) this.#sendJoin(joining, message);
  }

  #sendJoin(joining: Joining, message: JoinMessage): void {
    const lab = this.#lab;
    const other = lab.byAddress.get(message.to);
    if (other === undefined) return;
    const life = this.#life;
    this.#call(other, () => {
      const back = (run: () => void): void =>
        lab.network.carry(other, this, () => {
          if (this.#life !== life || this.#joining !== joining) return;
          run();
          this.#settle();
        });
      const { membership } = other;
      if (membership === undefined || !other.isRunning) {
        return back(() => joining.failed(message.to, "it is not there", lab.nowMs));
      }
      if (message.kind === "who") {
        const { configuration } = membership;
        const addresses = addressesOf(configuration, configuration.gatekeepersOf(this.address));
        const gate = { configuration, addresses };
        return back(() => joining.gatekeepers(message.to, gate, lab.nowMs));
      }
      const id = ++other.#joins;
      other.#joiners.set(id, { node: this, joining });
      membership.join({ id, joiner: message.joiner, configuration: message.configuration });
      other.#settle();
    });
  }

  #answer({ id, answer }: Answered): void {
    const lab = this.#lab;
    const asked = this.#joiners.get(id);
    this.#joiners.delete(id);
    if (asked === undefined) return;
    const { node, joining } = asked;
    lab.network.carry(this, node, () => {
      if (node.#joining !== joining || !node.isRunning) return;
      if (answer.kind === "joined") return node.start(answer.configuration);
      if (answer.kind === "moved") {
        const { configuration, gatekeepers } = answer;
        const addresses = addressesOf(configuration, gatekeepers);
        joining.moved(this.address, { configuration, addresses }, lab.nowMs);
      } else joining.failed(this.address, answer.why, lab.nowMs);
      node.#settle();
    });
  }
}

function addressesOf(
  { members }: Configuration,
  places: readonly number[],
): readonly string[] {
  return places.map((place) => members[place].address);
}
