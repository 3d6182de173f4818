/**
 * The membership of one node: who takes part as of one configuration after the other, the same ones
 * at every member (Rapid, USENIX ATC 2018). A pure machine. What happens is told to it: messages,
 * links, verdicts on those whom it observes, requests to join, what is on the disk, and that time has
 * passed. {@link Membership.take} says what is to be done about it.
 *
 * Everything that members say of one configuration is a state that only grows, and is passed on from
 * neighbour to neighbour along the rings, at most every `flushMs`. So what a member knows depends
 * neither on the order of messages nor on who brought them, and a link that was down for a while is
 * told the state as a whole.
 *
 * What is promised: all members install the same configurations in the same order; a minority of the
 * core installs none; what this node voted for is on its disk before anybody hears of it.
 */
import { AlertKind } from "./alerts.ts";
import { type Acceptor, freshAcceptor } from "./consensus.ts";
import {
  type Configuration,
  Configuration as ConfigurationClass,
  type ConfigurationId,
  type Cut,
  isSameId,
} from "./configuration.ts";
import { Gate, type JoinRequest } from "./gate.ts";
import { History, idOf } from "./history.ts";
import type { Member } from "./member.ts";
import type { Cuts, Message } from "./message.ts";
import { Neighbours } from "./neighbours.ts";
import type { ProtocolOptions } from "./options.ts";
import { hearsNobody, reachesQuorum, type Surroundings } from "./reach.ts";
import type { Dropped, Durable, Installed, Kept, MembershipStart, Ready } from "./ready.ts";
import { Round } from "./round.ts";
import { Verdicts } from "./verdicts.ts";

/** What somebody was helped with last. */
interface Help {
  /** The epoch that it was in; -1 where this node was the one to be helped. */
  readonly epoch: number;
  readonly atMs: number;
}

/** Others who are tried where most of the subjects do not answer. */
const strays = 3;

export type { Dropped, Durable, Installed, Kept, MembershipStart, Ready };
export class Membership {
  readonly #options: ProtocolOptions;
  readonly #self: Member;
  readonly #neighbours: Neighbours;
  readonly #gate: Gate;
  readonly #history = new History();
  readonly #verdicts = new Verdicts();
  readonly dropped: Dropped = { strangers: 0, forks: 0, invalid: 0 };
  readonly #next: (configuration: Configuration, cut: Cut) => Configuration;
  #round: Round;
  #place: number;
  #nowMs: number;
  #installed: Installed[] = [];
  /** Numbers of what is to be stored; the acceptor's changes at the newest one. */
  #number = 0;
  #storedChanges = 0;
  readonly #asked: { number: number; round: Round; changes: number }[] = [];
  #isConfigurationNew: boolean;
  /** The one that this node is not in any more. */
  #evicted: Configuration | undefined = undefined;
  /** It hears none of those whom it watches. */
  #isDeaf = false;
  /** Since when too few answer, this node or those that it hears. */
  #failingSinceMs = Infinity;
  /** Whom this node helped or asked for help last, and when: whoever is behind sends more than once. */
  readonly #helped = new Map<string, Help>();

  constructor(
    self: Member,
    durable: Durable,
    options: ProtocolOptions,
    nowMs: number,
    { isStored = false, next = (one, cut) => one.after(cut) }: MembershipStart = {},
  ) {
    this.#self = self;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#next = next;
    this.#gate = new Gate(options.joinersMax);
    this.#neighbours = new Neighbours(options);
    const place = durable.configuration.placeOf(self.address);
    this.#place = place ?? -1;
    this.#round = this.#roundOf(durable.configuration, durable.acceptor);
    this.#isConfigurationNew = !isStored;
    if (!durable.configuration.holds(self)) this.#evicted = durable.configuration;
    this.#neighbours.begin(this.#round, this.#place);
  }

  get configuration(): Configuration {
    return this.#round.configuration;
  }

  /** Not a member any more: all that is left is to join anew. */
  get isEvicted(): boolean {
    return this.#evicted !== undefined;
  }

  /** Whom this node has to watch, each once. */
  get subjects(): readonly Member[] {
    if (this.isEvicted) return [];
    const { members } = this.configuration;
    return this.configuration.subjectsOf(this.#place).map((place) => members[place]);
  }

  /**
   * With whom this node needs a link: to be asked for again and again. Where most of them are gone it
   * may have missed that the others went on without it, and looks for more of those it knows.
   */
  get peers(): readonly string[] {
    if (this.isEvicted) return [];
    const { members } = this.configuration;
    const places = new Set(this.configuration.subjectsOf(this.#place));
    for (const place of this.#neighbours.wanted) places.add(place);
    if (this.#failingSinceMs < this.#nowMs) {
      const turn = Math.floor(this.#nowMs / this.#options.degradedMs);
      for (let at = 0; at < strays; at++) places.add((turn * strays + at) % members.length);
      places.delete(this.#place);
    }
    return [...places].map((place) => members[place].address);
  }

  /** How much is kept, for whoever watches over it. */
  get kept(): Kept {
    const { alerts, consensus } = this.#round;
    return {
      joiners: alerts.joiners,
      waiting: this.#gate.size,
      cuts: consensus.cuts,
      tallies: consensus.tallies,
      verdicts: this.#verdicts.size,
    };
  }

  /** To whom what members say of themselves is passed on. */
  get told(): readonly string[] {
    return this.isEvicted ? [] : this.#neighbours.told;
  }

  /** When {@link tick} has something to do although nothing happened. */
  get dueMs(): number {
    if (this.isEvicted) return Infinity;
    return Math.min(
      this.#round.dueMs,
      this.#neighbours.dueMs,
      this.#verdicts.dueMs(this.#ageMs),
    );
  }

  /** Why this node cannot follow what happens to the others, in one line; undefined while it can. */
  degraded(nowMs: number): string | undefined {
    const { degradedMs } = this.#options;
    if (nowMs - this.#failingSinceMs >= degradedMs) {
      return "so many members do not answer that the others cannot decide anything";
    }
    if (nowMs - Math.min(this.#round.begunMs, this.#round.lostMs) >= degradedMs) {
      return "a change of the members is not decided: too few of those who decide are there";
    }
    return undefined;
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.isEvicted) return;
    this.#age();
    this.#work();
  }

  linked(address: string): void {
    this.#neighbours.linked(address);
    if (!this.isEvicted && this.#failingSinceMs < this.#nowMs) this.#pull(address);
  }

  unlinked(address: string): void {
    this.#helped.delete(address);
    this.#neighbours.unlinked(address);
  }

  /** Whether somebody whom this node observes answers. What is said of another stay does not count. */
  verdict(member: Member, isHealthy: boolean): void {
    if (this.isEvicted || !this.configuration.holds(member)) return;
    const kind = isHealthy ? "healthy" : "failing";
    const before = this.#verdicts.of(member);
    if (before === kind || (before === undefined && isHealthy)) return;
    if (before === "leaving") this.#verdicts.hears(member, isHealthy);
    else this.#verdicts.set(member, kind, this.#nowMs);
    this.#count();
    if (!isHealthy && before !== "leaving") {
      this.#alert(member, this.#isDeaf ? AlertKind.unheard : AlertKind.raised);
    }
    this.#work();
  }

  /** A member that this node observes leaves, or is sent away. */
  leaving(address: string): void {
    const member = this.configuration.memberAt(address);
    if (member === undefined || this.isEvicted || !this.#observes(member)) return;
    const isSilent = this.#verdicts.of(member) === "failing";
    this.#verdicts.set(member, "leaving", this.#nowMs);
    this.#verdicts.hears(member, !isSilent);
    this.#alert(member, AlertKind.leaving);
    this.#work();
  }

  /** Places of those who have to hear that somebody leaves: their addresses, without this node's. */
  observersOf(address: string): readonly string[] {
    const place = this.configuration.placeOf(address);
    if (place === undefined) return [];
    const { members } = this.configuration;
    const observers = new Set(this.configuration.observersOf(place));
    return [...observers].map((observer) => members[observer].address);
  }

  join(request: JoinRequest): void {
    for (const joiner of this.#gate.supersede(request.joiner, this.configuration)) {
      this.#round.admit(joiner, AlertKind.withdrawn, this.#nowMs);
    }
    const kept = this.#gate.ask(request, this.#evicted ?? this.configuration);
    if (this.#evicted !== undefined) return this.#gate.close(this.#evicted);
    if (kept !== "present") return;
    this.#admit(request);
    this.#work();
  }

  #admit({ id, joiner }: JoinRequest): void {
    if (this.#round.admit(joiner, AlertKind.raised, this.#nowMs)) return;
    this.#gate.refuse(id, "too_many");
  }

  /** Who is known to want to join, by its incarnation. */
  joinerOf(incarnation: bigint): Member | undefined {
    return this.#round.alerts.joinerOf(incarnation)?.joiner;
  }

  /** Who asked to join does not wait any more. */
  abandoned(id: number): void {
    const joiner = this.#gate.abandon(id);
    if (joiner === undefined || this.isEvicted) return;
    if (this.#round.alerts.joinerOf(joiner.incarnation) === undefined) return;
    this.#round.admit(joiner, AlertKind.withdrawn, this.#nowMs);
    this.#work();
  }

  /** `from`: who it is that is at the other end of the link, as a member of any configuration. */
  receive(from: string, message: Message): void {
    if (this.isEvicted) return;
    switch (message.kind) {
      case "gossip":
        if (!this.#isPresent(from, message.configuration)) return;
        this.#neighbours.hears(from, message);
        this.dropped.invalid += this.#round.merge(message);
        this.#neighbours.heard();
        break;
      case "decided":
        if (!this.#isPresent(from, message.configuration)) return;
        this.#round.consensus.learnDecision(message.value);
        if (this.#round.consensus.decision === undefined) this.#pull(from);
        break;
      case "leave":
        if (!this.#isPresent(from, message.configuration)) return;
        if (this.configuration.members[message.place] !== undefined) {
          this.leaving(this.configuration.members[message.place].address);
        } else this.dropped.invalid++;
        break;
      case "cuts":
        this.#follow(message);
        break;
      case "view":
        this.#adopt(message.configuration, message.members);
        break;
      case "pull":
        this.seen(from, message.configuration);
        break;
    }
    this.#work();
  }

  /** In which configuration somebody is: whoever is behind is helped. */
  seen(from: string, id: ConfigurationId): void {
    if (this.isEvicted || isSameId(id, this.configuration)) return;
    if (id.epoch > this.configuration.epoch) return this.#pull(from);
    if (id.epoch === this.configuration.epoch) {
      this.dropped.forks++;
      return;
    }
    if (this.#hasHelped(from, id.epoch)) return;
    // What it was told before it was there it has dropped.
    this.#neighbours.retell(from);
    const missed = this.#history.since(id);
    if (missed !== undefined) return this.#neighbours.send(from, missed);
    const { members } = this.configuration;
    const configuration = idOf(this.configuration);
    this.#neighbours.send(from, { kind: "view", configuration, members });
  }

  /** What {@link Ready.durable} said under this number is on the disk, and all before it. */
  stored(number: number): void {
    while (this.#asked.length > 0 && this.#asked[0].number <= number) {
      const { round, changes } = this.#asked.shift()!;
      if (round === this.#round) round.consensus.stored(changes);
    }
    if (!this.isEvicted) this.#work();
  }

  take(): Ready {
    const installed = this.#installed;
    this.#installed = [];
    // From here on the failure detector watches the subjects of the newest configuration.
    if (installed.length > 0) this.#verdicts.keep((member) => this.#observes(member));
    return {
      durable: this.#takeDurable(),
      messages: this.#neighbours.take(this.#nowMs),
      answers: this.#gate.take(),
      installed,
    };
  }

  #takeDurable(): Ready["durable"] {
    const { consensus, configuration } = this.#round;
    if (!this.#isConfigurationNew && consensus.changes === this.#storedChanges) return undefined;
    this.#isConfigurationNew = false;
    this.#storedChanges = consensus.changes;
    const number = ++this.#number;
    this.#asked.push({ number, round: this.#round, changes: consensus.changes });
    return { number, configuration, acceptor: consensus.acceptor };
  }

  #roundOf(configuration: Configuration, acceptor: Acceptor): Round {
    return new Round(configuration, this.#place, acceptor, this.#options, this.#neighbours);
  }

  #work(): void {
    for (;;) {
      this.#round.work(this.#nowMs);
      this.#own();
      this.#judgeReach();
      const cut = this.#round.consensus.decision;
      if (cut === undefined) return;
      this.#neighbours.decided(this.#round, cut);
      this.#install(this.#next(this.configuration, cut), cut);
      if (this.isEvicted) return;
    }
  }

  /** Whether something is about the present configuration; otherwise somebody is behind. */
  #isPresent(from: string, id: ConfigurationId): boolean {
    if (isSameId(id, this.configuration)) {
      if (this.configuration.placeOf(from) !== undefined) return true;
      this.dropped.strangers++;
      return false;
    }
    this.seen(from, id);
    return false;
  }

  #pull(from: string): void {
    if (this.#hasHelped(from, -1)) return;
    this.#neighbours.send(from, { kind: "pull", configuration: idOf(this.configuration) });
  }

  /** Takes over what was decided, once all of it leads to where it is said to lead. */
  #follow({ from, cuts, to }: Cuts): void {
    // Parts of what somebody tells may be known already.
    const at = this.configuration.epoch - from.epoch;
    if (at < 0 || at >= cuts.length) return;
    const steps: { readonly cut: Cut; readonly next: Configuration }[] = [];
    let present = this.configuration;
    for (const cut of cuts.slice(at)) {
      if (present.problemOf(cut) !== undefined) break;
      present = this.#next(present, cut);
      steps.push({ cut, next: present });
    }
    if (!isSameId(present, to)) {
      this.dropped.invalid++;
      return;
    }
    for (const { cut, next } of steps) {
      this.#install(next, cut);
      if (this.isEvicted) return;
    }
  }

  #adopt(id: ConfigurationId, members: readonly Member[]): void {
    if (id.epoch <= this.configuration.epoch) return;
    const { rings } = this.#options;
    const configuration = ConfigurationClass.restored(id, members, rings);
    if (configuration.problem !== undefined) this.dropped.invalid++;
    else this.#install(configuration, undefined);
  }

  #install(configuration: Configuration, cut: Cut | undefined): void {
    const before = this.configuration;
    if (cut !== undefined) this.#history.add(before, cut, configuration);
    this.#installed.push({ before, configuration });
    this.#helped.clear();
    if (!configuration.holds(this.#self)) {
      this.#gate.changed(configuration);
      this.#gate.close(configuration);
      this.#evicted = configuration;
      return;
    }
    this.#place = configuration.placeOf(this.#self.address)!;
    this.#round = this.#roundOf(configuration, freshAcceptor);
    this.#storedChanges = 0;
    this.#isConfigurationNew = true;
    this.#neighbours.begin(this.#round, this.#place);
    this.#isDeaf = hearsNobody(this.#surroundings);
    for (const [member, kind] of this.#verdicts.held(configuration)) {
      if (kind === "leaving") this.#alert(member, AlertKind.leaving);
      else if (kind === "failing") {
        this.#alert(member, this.#isDeaf ? AlertKind.unheard : AlertKind.raised);
      }
    }
    for (const request of this.#gate.changed(configuration)) this.#admit(request);
  }

  #observes({ address }: Member): boolean {
    const place = this.configuration.placeOf(address);
    return place !== undefined && this.configuration.observersOf(place).includes(this.#place);
  }

  #alert({ address }: Member, kind: AlertKind): void {
    const place = this.configuration.placeOf(address);
    if (place !== undefined) this.#round.alert(place, kind, this.#nowMs);
  }

  /** What others know this node to have said is made what it thinks now, and looked at again later. */
  #own(): void {
    for (const subject of this.#round.takeContested()) {
      const kind = this.#round.ownKind(subject);
      const isRaised = (kind & AlertKind.raised) !== 0;
      const { joiner, place } = subject;
      if (joiner !== undefined) {
        const waits = this.#gate.holds(joiner.incarnation);
        // Nobody waits for a joiner that has been reinforced; those it did ask answer for it.
        if (waits && !isRaised) this.#round.admit(joiner, AlertKind.raised, this.#nowMs);
        continue;
      }
      const member = this.configuration.members[place!];
      const verdict = this.#verdicts.of(member);
      if (verdict === undefined) {
        if (kind === AlertKind.leaving) this.#verdicts.set(member, "leaving", this.#nowMs);
        else if (kind !== AlertKind.withdrawn) {
          this.#verdicts.set(member, "healthy", this.#nowMs);
        }
      } else if (verdict === "failing" && !isRaised && !this.#isDeaf) {
        this.#alert(member, AlertKind.raised);
      } else if (verdict === "leaving") this.#alert(member, AlertKind.leaving);
    }
  }

  /** No cut can come of alerts against so many: those who answer again are not needed any less. */
  get #ageMs(): number {
    return this.#round.lostMs === Infinity ? this.#options.ageMs : 0;
  }

  /** Alerts about those who have answered for long are withdrawn: they would add up over the years. */
  #age(): void {
    for (const member of this.#verdicts.takeAged(this.#nowMs, this.#ageMs)) {
      this.#alert(member, AlertKind.withdrawn);
    }
  }

  /** Whoever is behind says so with all that it sends, until the help has arrived. */
  #hasHelped(address: string, epoch: number): boolean {
    const last = this.#helped.get(address);
    if (last?.epoch === epoch && this.#nowMs < last.atMs + this.#options.roundMs) return true;
    this.#helped.set(address, { epoch, atMs: this.#nowMs });
    return false;
  }

  /** Whoever hears nobody says so, instead of accusing all others. */
  #count(): void {
    const isDeaf = hearsNobody(this.#surroundings);
    if (isDeaf === this.#isDeaf) return;
    this.#isDeaf = isDeaf;
    for (const [member, kind] of this.#verdicts.held(this.configuration)) {
      if (kind !== "failing") continue;
      this.#alert(member, isDeaf ? AlertKind.unheard : AlertKind.raised);
    }
  }

  get #surroundings(): Surroundings {
    const { configuration, consensus } = this.#round;
    const { quorums } = consensus;
    return { configuration, place: this.#place, verdicts: this.#verdicts, quorums };
  }

  #judgeReach(): void {
    const { reported } = this.#round.alerts;
    const isCalm = reported.size === 0 && this.#verdicts.size === 0;
    if (isCalm || (!this.#isDeaf && reachesQuorum(this.#surroundings, reported))) {
      this.#failingSinceMs = Infinity;
    } else this.#failingSinceMs = Math.min(this.#failingSinceMs, this.#nowMs);
  }
}
