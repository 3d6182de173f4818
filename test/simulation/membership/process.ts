/** One life of a node: the protocol's machines, driven as a real node drives them. */
import { Prng } from "../../../src/base/prng.ts";
import { freshAcceptor } from "../../../src/membership/core/consensus.ts";
import type { Configuration, ConfigurationId } from "../../../src/membership/core/configuration.ts";
import type { Answered } from "../../../src/membership/core/gate.ts";
import { idOf } from "../../../src/membership/core/history.ts";
import { Joining, type JoinMessage, lanJoin } from "../../../src/membership/core/joining.ts";
import type { Member } from "../../../src/membership/core/member.ts";
import { type Durable, Membership } from "../../../src/membership/core/membership.ts";
import type { Message } from "../../../src/membership/core/message.ts";
import { lanProbes, Prober } from "../../../src/membership/core/prober.ts";
import type { Host } from "./host.ts";
import { deadMs, type Link } from "./network.ts";
import type { World } from "./world.ts";

/** Between two tries of one that leaves. */
const leaveAgainMs = 1_000;

/** Somebody who waits at this gatekeeper. */
interface Caller {
  readonly joiner: Process;
  readonly joining: Joining;
  readonly wantsView: boolean;
  sinceMs: number;
}

export class Process {
  readonly host: Host;
  readonly #world: World;
  self: Member | undefined = undefined;
  machine: Membership | undefined = undefined;
  #prober: Prober | undefined = undefined;
  joining: Joining | undefined = undefined;
  isDead = false;
  isPaused = false;
  isLeaving = false;
  /** What came while it stood still. */
  #held: (() => void)[] = [];
  readonly links = new Map<string, Link>();
  readonly #dialing = new Set<string>();
  readonly #callers = new Map<number, Caller>();
  #calls = 0;
  #wakeMs = Infinity;

  constructor(world: World, host: Host) {
    this.#world = world;
    this.host = host;
  }

  /** Present while it is a member. */
  get view(): Configuration | undefined {
    return this.machine?.isEvicted === false ? this.machine.configuration : undefined;
  }

  // -------------------------------------------------------------------------------------------
  // Life

  begin(self: Member, durable: Durable, isStored: boolean): void {
    const world = this.#world;
    this.self = self;
    this.joining?.joined();
    this.joining = undefined;
    world.ledger.began(this, durable.configuration);
    this.machine = new Membership(self, durable, world.plan.protocol, world.nowMs, {
      isStored,
      next: (configuration, cut) => world.after(configuration, cut),
    });
    this.#prober = new Prober(lanProbes, world.nowMs);
    for (const address of this.links.keys()) this.machine.linked(address);
    this.#watch();
    this.settle();
  }

  /** As another stay. */
  join(seeds: readonly string[]): void {
    const world = this.#world;
    const { address, name, role, disk } = this.host;
    const incarnation = world.drawIncarnation();
    this.self = { address, nodeId: disk.nodeId, incarnation, name, role, metadata: new Map() };
    this.machine = undefined;
    this.#prober = undefined;
    this.joining?.joined();
    const prng = new Prng(world.random.next());
    this.joining = new Joining(this.self, seeds, lanJoin, prng, world.nowMs);
    this.settle();
  }

  end(isHeard: boolean): void {
    this.isDead = true;
    this.#hangUp(isHeard ? this.#world.plan.latencyMs : deadMs);
    for (const link of this.links.values()) if (isHeard) this.#world.network.reset(link);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    // A call's time begins when somebody is there to answer it.
    for (const caller of this.#callers.values()) caller.sinceMs = this.#world.nowMs;
    const held = this.#held;
    this.#held = [];
    for (const run of held) if (!this.isDead) run();
    this.settle();
  }

  /** What happens to it happens once it does not stand still. */
  run(what: () => void): void {
    if (this.isDead) return;
    if (this.isPaused) this.#held.push(what);
    else what();
  }

  /** Tells those who observe this node that it goes, until it is out. */
  leave(): void {
    this.isLeaving = true;
    this.#sendAway(this.host.address);
    this.#world.at(leaveAgainMs, () => this.run(() => this.#leaveAgain()));
  }

  #leaveAgain(): void {
    if (this.isLeaving && this.view !== undefined) this.leave();
  }

  kick(address: string): void {
    this.#sendAway(address);
  }

  #sendAway(address: string): void {
    const { machine } = this;
    const configuration = this.view;
    const place = configuration?.placeOf(address);
    if (machine === undefined || configuration === undefined || place === undefined) return;
    for (const observer of machine.observersOf(address)) {
      if (observer === this.host.address) machine.leaving(address);
      else this.#pass(observer, { kind: "leave", configuration: idOf(configuration), place });
    }
    this.settle();
  }

  // -------------------------------------------------------------------------------------------
  // Links

  linked(link: Link): void {
    const { host } = link.other(this);
    const before = this.links.get(host.address);
    if (before !== undefined) {
      this.links.delete(host.address);
      this.machine?.unlinked(host.address);
      this.#world.network.reset(before);
    }
    this.links.set(host.address, link);
    this.machine?.linked(host.address);
    this.#greeted(host.address, link.other(this));
    this.settle();
  }

  unlinked(link: Link): void {
    const { address } = link.other(this).host;
    if (this.links.get(address) !== link) return;
    this.links.delete(address);
    this.machine?.unlinked(address);
    this.settle();
  }

  /** Both ends of a link say who they are. */
  #greeted(address: string, other: Process): void {
    const expected = this.view?.memberAt(address);
    if (expected === undefined || other.self?.incarnation === expected.incarnation) return;
    this.#world.mark("node replaced at its address");
    this.#prober?.replaced(address);
  }

  #dial(): void {
    const world = this.#world;
    const peers = [...this.machine?.peers ?? []];
    // All whom it knows may have left for good: then it tries those it was told of at its start.
    if (this.machine?.degraded(world.nowMs) !== undefined) {
      const { address } = world.random.pick(world.hosts);
      if (address !== this.host.address) peers.push(address);
    }
    for (const to of peers) {
      if (this.links.has(to) || this.#dialing.has(to)) continue;
      this.#dialing.add(to);
      world.network.dial(this, world.hostAt(to).index, () => this.#dialing.delete(to));
    }
  }

  #pass(to: string, message: Message): void {
    const link = this.links.get(to);
    if (link === undefined) return;
    const world = this.#world;
    world.ledger.sending(this, message);
    const other = link.other(this);
    const arrive = (): void => other.received(this.host, message);
    world.sent(link, this, arrive, message);
    world.network.send(link, this, arrive);
  }

  received(from: Host, message: Message): void {
    const world = this.#world;
    world.trace(
      1,
      from.index << 16 | this.host.index,
      epochOf(message),
      () => `${from.name} tells ${this.host.name} ${message.kind}`,
    );
    if (this.machine !== undefined) {
      this.machine.receive(from.address, message);
      return this.settle();
    }
    // A joiner that was let in and was not told: whoever observes it sends it the view.
    if (message.kind !== "view" || this.self === undefined) return;
    const { configuration } = message;
    const known = world.ledger.at(configuration.epoch);
    if (known?.holds(this.self) === true) this.#joined(known);
  }

  // -------------------------------------------------------------------------------------------
  // Probes

  #probe(to: string, sequence: number): void {
    const link = this.links.get(to);
    if (link === undefined) return;
    const id = idOf(this.machine!.configuration);
    const other = link.other(this);
    this.#world.network.send(link, this, () => other.#probed(link, this, id, sequence));
  }

  #probed(link: Link, from: Process, id: ConfigurationId, sequence: number): void {
    const { machine } = this;
    const isMember = machine?.isEvicted === false;
    const own = isMember ? idOf(machine.configuration) : { epoch: 0, digest: 0n };
    this.#world.network.send(link, this, () => from.#answered(this.host.address, own, sequence));
    if (isMember) {
      machine.seen(from.host.address, id);
      this.settle();
    }
  }

  #answered(from: string, id: ConfigurationId, sequence: number): void {
    // Who is no member is none of those who are watched, and is only helped.
    if (id.epoch > 0) this.#prober?.answered(from, sequence);
    this.machine?.seen(from, id);
    this.settle();
  }

  // -------------------------------------------------------------------------------------------
  // Joins

  #sendJoins(): void {
    for (const message of this.joining?.take() ?? []) {
      if (message.kind === "who") this.#askWho(message.to);
      else this.#askIn(message);
    }
  }

  /** Runs at this joiner, unless it is beyond that. */
  #back(from: Host, joining: Joining, run: () => void): void {
    this.#world.network.call(from.index, this.host.index, (process) => {
      if (process !== this || this.joining !== joining) return;
      run();
      this.settle();
    });
  }

  #askWho(to: string): void {
    const { network } = this.#world;
    const joining = this.joining!;
    const seed = this.#world.hostAt(to);
    network.call(this.host.index, seed.index, (process) => {
      const configuration = process?.view;
      this.#back(seed, joining, () => {
        const { nowMs } = this.#world;
        if (configuration === undefined) return joining.failed(to, "it is no member", nowMs);
        const addresses = addressesOf(
          configuration,
          configuration.gatekeepersOf(this.host.address),
        );
        joining.gatekeepers(to, { configuration: idOf(configuration), addresses }, nowMs);
      });
    });
  }

  #askIn({ to, joiner, configuration, wantsView }: Extract<JoinMessage, { kind: "join" }>): void {
    const { network } = this.#world;
    const joining = this.joining!;
    const keeper = this.#world.hostAt(to);
    network.call(this.host.index, keeper.index, (process) => {
      if (process?.view === undefined) {
        return this.#back(
          keeper,
          joining,
          () => joining.failed(to, "it is no member", this.#world.nowMs),
        );
      }
      const id = ++process.#calls;
      const sinceMs = this.#world.nowMs;
      process.#callers.set(id, { joiner: this, joining, wantsView, sinceMs });
      process.machine!.join({ id, joiner, configuration });
      process.settle();
      // The call has a deadline.
      this.#world.at(lanJoin.changeMs, () => process.run(() => process.#abandon(id)));
    });
  }

  #abandon(id: number): void {
    const caller = this.#callers.get(id);
    if (!this.#callers.delete(id) || caller === undefined) return;
    this.machine?.abandoned(id);
    const { joiner, joining } = caller;
    joiner.#back(
      this.host,
      joining,
      () => joining.failed(this.host.address, "it took too long", this.#world.nowMs),
    );
    this.settle();
  }

  /** Calls of a joiner that is gone end at the gatekeepers. */
  #hangUp(afterMs: number): void {
    const joining = this.joining;
    if (joining === undefined) return;
    joining.joined();
    for (const { process } of this.#world.hosts) {
      if (process === undefined) continue;
      for (const [id, caller] of process.#callers) {
        if (caller.joining !== joining) continue;
        this.#world.at(afterMs, () => process.run(() => process.#abandon(id)));
      }
    }
  }

  #answer({ id, answer }: Answered): void {
    const caller = this.#callers.get(id);
    this.#callers.delete(id);
    if (caller === undefined) return;
    const { joiner, joining, wantsView, sinceMs } = caller;
    const world = this.#world;
    world.parked(world.nowMs - sinceMs);
    const { address } = this.host;
    joiner.#back(this.host, joining, () => {
      const { nowMs } = world;
      if (answer.kind === "refused") return joining.failed(address, answer.why, nowMs);
      const { configuration } = answer;
      if (answer.kind === "moved") {
        world.mark("join moved to another configuration");
        const addresses = addressesOf(configuration, answer.gatekeepers);
        return joining.moved(address, { configuration: idOf(configuration), addresses }, nowMs);
      }
      if (!wantsView) return joining.admitted(address, nowMs);
      joiner.#joined(configuration);
    });
  }

  #joined(configuration: Configuration): void {
    const world = this.#world;
    this.#hangUp(world.plan.latencyMs);
    world.joined(this);
    this.begin(this.self!, { configuration, acceptor: freshAcceptor }, false);
  }

  // -------------------------------------------------------------------------------------------
  // Work

  #wake(atMs: number): void {
    if (atMs >= this.#wakeMs) return;
    this.#wakeMs = atMs;
    const { nowMs } = this.#world;
    this.#world.at(Math.max(0, atMs - nowMs), () => {
      if (this.isDead || this.#wakeMs !== atMs) return;
      this.#wakeMs = Infinity;
      // Who stands still looks at its clock when it goes on.
      if (!this.isPaused) this.settle();
    });
  }

  #watch(): void {
    const { machine } = this;
    if (machine?.isEvicted !== false) return;
    this.#prober?.watch(machine.subjects, this.#world.nowMs);
    this.#dial();
  }

  /** Does what the machines want done. */
  settle(): void {
    if (this.isDead || this.isPaused) return;
    const world = this.#world;
    const { nowMs } = world;
    if (this.joining !== undefined && nowMs >= this.joining.dueMs) {
      // Others may have come since.
      this.joining.seeds = world.seedsFor(this.host);
      this.joining.tick(nowMs);
    }
    this.#sendJoins();
    const machine = this.machine;
    const prober = this.#prober;
    if (machine !== undefined && prober !== undefined) this.#work(machine, prober);
    this.#wake(Math.min(
      this.machine?.dueMs ?? Infinity,
      this.#prober?.dueMs ?? Infinity,
      this.joining?.dueMs ?? Infinity,
    ));
  }

  #work(machine: Membership, prober: Prober): void {
    const world = this.#world;
    if (world.nowMs >= prober.dueMs) {
      this.#dial();
      for (const { to, sequence } of prober.tick(world.nowMs)) this.#probe(to, sequence);
    }
    for (const { member, isHealthy } of prober.take()) machine.verdict(member, isHealthy);
    machine.tick(world.nowMs);
    const { durable, messages, answers, installed } = machine.take();
    for (const { to, message } of messages) this.#pass(to, message);
    for (const answer of answers) this.#answer(answer);
    if (durable !== undefined) {
      const { configuration, acceptor, number } = durable;
      const saved = { self: this.self!, durable: { configuration, acceptor } };
      this.host.disk.write(saved, () =>
        this.run(() => {
          if (this.machine !== machine) return;
          machine.stored(number);
          this.settle();
        }));
    }
    for (const step of installed) world.ledger.installed(this, step);
    if (installed.length === 0) return;
    if (!machine.isEvicted) return this.#watch();
    this.#evicted();
  }

  #evicted(): void {
    const world = this.#world;
    world.mark("node evicted");
    if (this.isLeaving) return world.left(this.host);
    this.join(world.seedsFor(this.host));
  }
}

function addressesOf({ members }: Configuration, places: readonly number[]): string[] {
  return [...new Set(places.map((place) => members[place].address))];
}

function epochOf(message: Message): number {
  return message.kind === "cuts" ? message.from.epoch : message.configuration.epoch;
}
