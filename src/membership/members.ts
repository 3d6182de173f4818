/**
 * The membership of a node: drives the protocol's machines with links, calls, a clock and a disk.
 *
 * States: `waiting` (no cluster is known yet) → `joining` (it asks members to be let in) → `member`
 * → `left`. A member that was evicted is `joining` again, as another stay with the same name and
 * metadata. Whoever was a member when its process ended goes on as the same one.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import { Prng } from "../base/prng.ts";
import { encodeText } from "../base/bytes.ts";
import { xxh64 } from "../base/xxh64.ts";
import { Configuration } from "./core/configuration.ts";
import { freshAcceptor } from "./core/consensus.ts";
import type { Member } from "./core/member.ts";
import { type Durable, Membership, type Ready } from "./core/membership.ts";
import type { Message } from "./core/message.ts";
import { Prober } from "./core/prober.ts";
import { leaveView, sendAway } from "./departures.ts";
import { MembersCounters } from "./counters.ts";
import { Entrance } from "./entrance.ts";
import { FactsKeeper } from "./facts_keeper.ts";
import { foundersOf } from "./founders.ts";
import { Gatekeeper } from "./gatekeeper.ts";
import { type HelloFacts, settingsOf } from "./hello.ts";
import { Links, type ProbeFrame } from "./links.ts";
import { readRecord } from "./record.ts";
import type { Founding, MembersParts, MembersState } from "./members_types.ts";
import { RecordWriter } from "./record_writer.ts";
import { type View, ViewFeed } from "./view_feed.ts";
import { Waits } from "./waits.ts";
import { Wakeup } from "./wakeup.ts";
import { WayBack } from "./way_back.ts";
import { decodeId, encodeId, type Frame, type FrameInit, type Hello } from "./wire.ts";

export type { Founding, MembersParts, MembersState } from "./members_types.ts";

type NumberedDurable = NonNullable<Ready["durable"]>;

export class Members {
  readonly name: string;
  readonly #parts: MembersParts;
  readonly #prng: Prng;
  readonly #links: Links;
  /** For the service: what joiners are told. */
  readonly gatekeeper: Gatekeeper;
  readonly counters: MembersCounters = new MembersCounters();
  readonly feed: ViewFeed = new ViewFeed();
  #state: MembersState = "waiting";
  #clusterId = "";
  #self: Member | undefined = undefined;
  #machine: Membership | undefined = undefined;
  #prober: Prober | undefined = undefined;
  /** The last probe to each, for its round trip. */
  readonly #asked = new Map<string, { readonly sequence: number; readonly atMs: number }>();
  readonly #facts = new FactsKeeper();
  #entrance: Entrance | undefined = undefined;
  readonly #wayBack: WayBack;
  /** Where members may be: those of the last view, and what was found. */
  #known: readonly string[] = [];
  #found: readonly string[] = [];
  readonly #wakeup: Wakeup;
  readonly #writer: RecordWriter;
  #isSettling = false;
  #isDegraded = false;
  readonly #waits: Waits;

  constructor(parts: MembersParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.#prng = new Prng(Number(BigInt.asUintN(32, this.#drawn())));
    this.#writer = new RecordWriter(parts);
    this.#waits = new Waits(parts.clock);
    this.#wakeup = new Wakeup(parts.clock, () => this.#settle());
    this.#wayBack = new WayBack({
      clock: parts.clock,
      prng: this.#prng.fork(),
      times: parts.profile.comeback,
      channel: (address) => parts.channel(address),
      changed: () => this.#settle(),
    });
    this.#links = new Links({
      nowMs: () => parts.clock.monotonicMs(),
      counters: this.counters,
      facts: () => this.#introduction(),
      channel: (address) => parts.channel(address),
      greeted: (address, hello) => this.#greeted(address, hello),
      linked: (address) => this.#tell((machine) => machine.linked(address)),
      unlinked: (address) => {
        this.#facts.unlink(address);
        this.#tell((machine) => machine.unlinked(address));
      },
      probed: (address, probe) => this.#probed(address, probe),
      answered: (address, probe) => this.#answered(address, probe),
      received: (address, message) => this.#received(address, message),
      told: (address, message) => {
        this.#facts.receive(address, message);
        this.#settle();
      },
      joinerOf: (incarnation) => this.#machine?.joinerOf(incarnation),
    });
    this.gatekeeper = new Gatekeeper({
      settings: settingsOf(this.#parts.profile.protocol),
      membership: () =>
        this.#machine === undefined || this.#machine.isEvicted
          ? undefined
          : { clusterId: this.#clusterId, machine: this.#machine },
      settle: () => this.#settle(),
    });
  }

  get state(): MembersState {
    return this.#state;
  }

  get clusterId(): string {
    return this.#clusterId;
  }

  /** This node as a member, or as it wants to become one; undefined while no cluster is known. */
  get self(): Member | undefined {
    return this.#self;
  }

  get view(): View | undefined {
    return this.#state === "member" ? this.feed.present : undefined;
  }

  /** Whether it is a member and cannot follow what happens to the others; {@link problem} says why. */
  get isDegraded(): boolean {
    return this.#state === "member" && this.#isDegraded;
  }

  /** What keeps this node from following the view, in one line; undefined when nothing does. */
  get problem(): string | undefined {
    switch (this.#state) {
      case "waiting":
        return "no cluster is known yet";
      case "joining":
        return this.#wayBack.problem ??
          `joining: ${this.#entrance?.problem ?? "asking to be let in"}`;
      case "left":
        return "this node has left";
      default:
        return this.#machine?.degraded(this.#parts.clock.monotonicMs());
    }
  }

  /** Goes on as the member that it was. Says whether it was one. */
  async start(): Promise<boolean> {
    const { storage, address, nodeId } = this.#parts;
    if (storage === undefined) return false;
    const { disk, directory } = storage;
    const record = await readRecord(disk, directory, this.#parts.profile.protocol.rings);
    if (record === undefined) return false;
    const { self, clusterId, configuration, acceptor } = record;
    this.#clusterId = clusterId;
    if (self.nodeId !== nodeId) {
      throw new CoveyError(
        Code.dataLoss,
        `${directory}/membership is of node ${self.nodeId}, not of ${nodeId}: give the directory ` +
          "its own node.json back, or take the file away, and the node joins as another member",
      );
    }
    if (self.address === address && configuration.holds(self)) {
      this.#self = self;
      this.#begin({ configuration, acceptor }, true);
    } else if (configuration.size === 1) {
      // Nobody else has to agree that it moved.
      this.#self = this.#newSelf();
      const moved = configuration.after({ joined: [this.#self], left: [0] });
      this.#begin({ configuration: moved, acceptor: freshAcceptor }, false);
    } else {
      // Under another address it is another member: the others would not find it.
      this.#join(configuration.members.map((member) => member.address));
    }
    return true;
  }

  /** The cluster is founded by these, of whom this node is one. */
  found({ clusterId, founders }: Founding): void {
    if (this.#state !== "waiting") return;
    this.#clusterId = clusterId;
    const members = foundersOf(clusterId, founders);
    this.#self = members.find(({ nodeId }) => nodeId === this.#parts.nodeId);
    if (this.#self === undefined) return this.#join([]);
    const seed = xxh64(encodeText(clusterId));
    const configuration = Configuration.first(seed, members, this.#parts.profile.protocol.rings);
    this.#begin({ configuration, acceptor: freshAcceptor }, false);
  }

  /** There is a cluster already, of which this node is to become a member. */
  join(clusterId: string): void {
    if (this.#state !== "waiting") return;
    this.#clusterId = clusterId;
    this.#join([]);
  }

  /** What a member says of itself beside its record; empty for whoever is not in the view. */
  factsOf(member: Member): ReadonlyMap<string, Uint8Array> {
    return this.#facts.of(member);
  }

  /**
   * Says something of this node to all members, now and whenever it joins again; undefined: nothing
   * any more. `resource_exhausted` above 4 KiB or 32 keys in all.
   */
  say(key: string, value: Uint8Array | undefined): void {
    this.#facts.say(key, value);
    this.#settle();
  }

  /** Members may also be at these addresses, which take the place of those that were said before. */
  look(addresses: readonly string[]): void {
    this.#found = addresses;
    if (this.#entrance !== undefined) this.#entrance.seeds = this.#seeds;
    this.#settle();
  }

  /** For the service: a stream that another node opened. */
  accept(frames: AsyncIterable<Frame>, identity: Identity): Promise<AsyncIterator<FrameInit>> {
    return this.#links.accept(frames, identity);
  }

  /** Tells the others that this node goes, and waits until they have taken it out, or for so long. */
  async leave(timeoutMs: number): Promise<void> {
    const machine = this.#machine;
    const self = this.#self;
    if (machine === undefined || self === undefined || machine.isEvicted) return;
    this.#state = "left";
    if (machine.configuration.size > 1) {
      await leaveView(machine, timeoutMs, this.#waits, () => this.#sendAway(self.address));
    } else this.#settle();
  }

  /** Has another member taken out of the view. It may join again if it still runs. */
  kick(address: string): void {
    const machine = this.#machine;
    if (machine === undefined || machine.isEvicted) {
      throw new CoveyError(Code.failedPrecondition, "this node is no member of a cluster");
    }
    if (machine.configuration.memberAt(address) === undefined) {
      throw new CoveyError(Code.notFound, `there is no member at ${address}`);
    }
    this.#sendAway(address);
  }

  async stop(): Promise<void> {
    this.#state = "left";
    this.#wakeup.cancel();
    this.#entrance?.close();
    this.#wayBack.close();
    this.#links.close();
    this.feed.close();
    this.#waits.look();
    await this.#writer.close();
  }

  #drawn(): bigint {
    const bytes = new Uint8Array(8);
    this.#parts.random.fill(bytes);
    return new DataView(bytes.buffer).getBigUint64(0);
  }

  #introduction(): HelloFacts | undefined {
    if (this.#self === undefined || this.#clusterId === "") return undefined;
    const { nodeId, name, address } = this.#parts;
    const { incarnation } = this.#self;
    return { clusterId: this.#clusterId, nodeId, name, address, incarnation };
  }

  /** Another stay, with the same name and metadata. */
  #newSelf(): Member {
    const { nodeId, name, address, role, metadata } = this.#parts;
    return { address, nodeId, incarnation: this.#drawn() | 1n, name, role, metadata };
  }

  get #seeds(): string[] {
    const { seeds, address } = this.#parts;
    const all = new Set([...seeds, ...this.#found, ...this.#known]);
    all.delete(address);
    return [...all];
  }

  /** It is a member no more, and is to become one again. */
  #end(): void {
    this.#self = this.#newSelf();
    this.#state = "joining";
    this.#machine = undefined;
    this.#prober = undefined;
    this.#facts.end();
  }

  #join(known: readonly string[]): void {
    const { clock, logger } = this.#parts;
    this.#end();
    this.#known = known;
    this.#entrance = new Entrance({
      clock,
      logger,
      prng: this.#prng.fork(),
      times: this.#parts.profile.joins,
      settings: settingsOf(this.#parts.profile.protocol),
      joiner: this.#self!,
      clusterId: this.#clusterId,
      seeds: this.#seeds,
      channel: (to) => this.#parts.channel(to),
      changed: () => this.#settle(),
      joined: (clusterId, configuration) => this.#joined(clusterId, configuration),
    });
    this.#settle();
  }

  #joined(clusterId: string, configuration: Configuration): void {
    if (this.#state !== "joining") return;
    this.#clusterId = clusterId;
    this.#begin({ configuration, acceptor: freshAcceptor }, false);
  }

  #begin(durable: Durable, isStored: boolean): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#entrance?.close();
    this.#entrance = undefined;
    this.#state = "member";
    this.#wayBack.joined();
    this.#machine = new Membership(this.#self!, durable, this.#parts.profile.protocol, nowMs, {
      isStored,
    });
    this.counters.begin(this.#machine.dropped);
    this.#prober = new Prober(this.#parts.profile.probes, nowMs);
    this.#facts.begin(this.#self!.incarnation);
    this.#show(durable.configuration);
    this.#watch();
    this.#settle();
  }

  #show(configuration: Configuration): void {
    const { epoch, size } = configuration;
    this.#parts.logger.info("the view changed", { epoch, members: size });
    this.feed.show(configuration);
  }

  #watch(): void {
    const machine = this.#machine;
    if (machine === undefined) return;
    this.#asked.clear();
    this.#prober?.watch(machine.subjects, this.#parts.clock.monotonicMs());
    this.#links.want(machine.peers);
    for (const address of machine.peers) {
      if (this.#links.isUp(address)) machine.linked(address);
    }
    this.#facts.install(machine.configuration.members);
  }

  #tell(what: (machine: Membership) => void): void {
    if (this.#machine === undefined) return;
    what(this.#machine);
    this.#settle();
  }

  #greeted(address: string, { nodeId, incarnation }: Hello): void {
    const member = this.#machine?.configuration.memberAt(address);
    if (member === undefined) return;
    if (member.nodeId !== nodeId || member.incarnation !== incarnation) {
      this.#prober?.replaced(address);
      this.#settle();
    }
  }

  #probed(address: string, { epoch, digest, sequence }: ProbeFrame): void {
    const machine = this.#machine;
    if (machine === undefined || machine.isEvicted) {
      // A joiner that was let in and does not know it yet is told so.
      return this.#links.answer(address, { sequence });
    }
    this.#links.answer(address, { ...encodeId(machine.configuration), sequence });
    this.#seen(address, epoch, digest);
  }

  #answered(address: string, { epoch, digest, sequence }: ProbeFrame): void {
    // Who is no member is none of those who are watched, and is only helped.
    if (epoch > 0n) this.#prober?.answered(address, sequence);
    const asked = this.#asked.get(address);
    const nowMs = this.#parts.clock.monotonicMs();
    if (asked?.sequence === sequence) this.#parts.probed?.(address, nowMs - asked.atMs);
    this.#seen(address, epoch, digest);
  }

  #seen(address: string, epoch: bigint, digest: bigint): void {
    const id = decodeId({ epoch, digest } as Parameters<typeof decodeId>[0]);
    if (id !== undefined) this.#tell((machine) => machine.seen(address, id));
  }

  #received(address: string, message: Message): void {
    if (this.#machine !== undefined) {
      return this.#tell((machine) => machine.receive(address, message));
    }
    if (message.kind !== "view" || this.#self === undefined) return;
    const { rings } = this.#parts.profile.protocol;
    const configuration = Configuration.restored(message.configuration, message.members, rings);
    if (configuration.holds(this.#self)) this.#joined(this.#clusterId, configuration);
  }

  #sendAway(address: string): void {
    sendAway(this.#machine!, this.#links, this.#self!.address, address);
    this.#settle();
  }

  /** Does what the machines want done, and sees to it that they are woken in time. */
  #settle(): void {
    if (this.#isSettling || this.#state === "left" && this.#machine === undefined) return;
    this.#isSettling = true;
    try {
      this.#work();
    } finally {
      this.#isSettling = false;
    }
    this.#waits.look();
    this.#wake();
    this.#parts.changed?.();
  }

  #work(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#entrance?.tick(nowMs);
    if (this.#state === "joining" && this.#entrance === undefined) {
      const known = this.#wayBack.tick(nowMs);
      if (known !== undefined) this.#join(known);
    }
    const machine = this.#machine;
    const prober = this.#prober;
    if (machine === undefined || prober === undefined) return;
    if (nowMs >= prober.dueMs) {
      // Where most of its peers are gone it looks for others.
      this.#links.want(machine.peers);
      this.#links.dial();
      const id = encodeId(machine.configuration);
      for (const { to, sequence } of prober.tick(nowMs)) {
        this.#links.probe(to, { ...id, sequence });
        this.#asked.set(to, { sequence, atMs: nowMs });
      }
    }
    for (const { member, isHealthy } of prober.take()) machine.verdict(member, isHealthy);
    machine.tick(nowMs);
    const { durable, messages, answers, installed } = machine.take();
    for (const { to, message } of messages) this.#links.send(to, message);
    this.gatekeeper.answered(answers);
    if (durable !== undefined) this.#store(machine, durable);
    if (installed.length > 0) {
      this.#installed(machine, installed[installed.length - 1].configuration);
    }
    const changed = this.#facts.passOn(
      machine.told,
      nowMs,
      (to, message) => this.#links.tell(to, message),
    );
    if (changed.size > 0) this.feed.told(changed);
    this.#announce(machine, nowMs);
  }

  #store(machine: Membership, { number, configuration, acceptor }: NumberedDurable): void {
    const record = { clusterId: this.#clusterId, self: this.#self!, configuration, acceptor };
    this.#writer.write(record, () => {
      if (machine === this.#machine) this.#tell((one) => one.stored(number));
    });
  }

  #installed(machine: Membership, configuration: Configuration): void {
    if (!machine.isEvicted) {
      this.#show(configuration);
      return this.#watch();
    }
    if (this.#state === "left") return;
    this.#parts.logger.warning("the others have taken this node out: it joins again", {
      epoch: configuration.epoch,
    });
    this.#end();
    this.#wayBack.evicted(configuration.members.map(({ address }) => address));
  }

  /** Once when it begins, and once when it is over. */
  #announce(machine: Membership, nowMs: number): void {
    const why = machine.degraded(nowMs);
    if ((why !== undefined) === this.#isDegraded) return;
    this.#isDegraded = why !== undefined;
    if (why !== undefined) this.#parts.logger.warning("membership is degraded", { why });
    else this.#parts.logger.info("membership is not degraded any more");
  }

  #wake(): void {
    const dueMs = Math.min(
      this.#machine?.isEvicted === false ? this.#machine.dueMs : Infinity,
      this.#prober?.dueMs ?? Infinity,
      this.#facts.dueMs,
      this.#entrance?.dueMs ?? this.#wayBack.dueMs,
    );
    this.#wakeup.at(dueMs);
  }
}
