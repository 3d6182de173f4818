/**
 * What an observer knows who sees every disk and every message, and what must hold at every step:
 * one chain of configurations, of which every node has a run; whoever enters does so once and leaves
 * once; every decision is one that durable votes have made; what is said is durable before.
 */
import type { Configuration } from "../../../src/membership/core/configuration.ts";
import {
  type Acceptor,
  fastRank,
  noRank,
  placeOf,
  type Rank,
  roundOf,
  type Saying,
} from "../../../src/membership/core/consensus.ts";
import type { Member } from "../../../src/membership/core/member.ts";
import type { Installed } from "../../../src/membership/core/membership.ts";
import type { Gossip, Message } from "../../../src/membership/core/message.ts";
import type { Host, Saved } from "./host.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** How many it takes, without the product's own arithmetic. */
export function isClassicQuorum(
  core: readonly number[],
  present: (place: number) => boolean,
  twoMembers: "stall" | "first",
): boolean {
  if (core.length === 2 && twoMembers === "first") return present(core[0]);
  return core.filter(present).length * 2 > core.length;
}

function isFastQuorum(
  core: readonly number[],
  present: (place: number) => boolean,
  twoMembers: "stall" | "first",
): boolean {
  if (core.length === 2 && twoMembers === "first") return present(core[0]);
  return core.filter(present).length >= core.length - Math.floor((core.length - 1) / 4);
}

type Vote = Exclude<Saying, { readonly kind: "promise" }>;

export class Ledger {
  readonly #world: World;
  readonly #chain = new Map<number, Configuration>();
  /** What was durable, one after the other, by configuration and stay. */
  readonly #acceptors = new Map<string, Acceptor[]>();
  /** What was said, once that was durable. */
  readonly #votes = new Map<string, Vote[]>();
  readonly #entered = new Set<string>();
  /** Stays that a process has begun. */
  readonly #begun = new Set<string>();
  head: Configuration | undefined = undefined;

  constructor(world: World) {
    this.#world = world;
  }

  at(epoch: number): Configuration | undefined {
    return this.#chain.get(epoch);
  }

  founded(configuration: Configuration): void {
    this.#chain.set(configuration.epoch, configuration);
    for (const member of configuration.members) this.#entered.add(stayOf(member));
    this.head = configuration;
  }

  /** A process begins with a configuration. */
  began({ host, self }: Process, configuration: Configuration): void {
    const known = this.#chain.get(configuration.epoch);
    this.#world.check(
      known?.digest === configuration.digest,
      "all have one chain of configurations",
      () => `${host.name} begins with ${nameOf(configuration)}`,
    );
    this.#begun.add(stayOf(self!));
    this.#world.check(
      configuration.holds(self!),
      "a member is in its configuration",
      () => `${host.name} begins with ${nameOf(configuration)}`,
    );
  }

  installed({ host, self }: Process, { before, configuration }: Installed): void {
    const world = this.#world;
    world.trace(
      2,
      host.index,
      configuration.epoch,
      () => `${host.name} installs ${nameOf(configuration)} of ${configuration.size}`,
    );
    if (!this.#chain.has(configuration.epoch)) this.#decided(host, before, configuration);
    const known = this.#chain.get(configuration.epoch)!;
    world.check(
      known.digest === configuration.digest && areSame(known.members, configuration.members),
      "all have one chain of configurations",
      () => `${host.name} has ${nameOf(configuration)}, others ${nameOf(known)}`,
    );
    world.check(
      before.holds(self!) && configuration.epoch > before.epoch,
      "a node installs one configuration after the other",
      () => `${host.name} has ${nameOf(configuration)} after ${nameOf(before)}`,
    );
    if (configuration.epoch > before.epoch + 1) world.mark("view adopted");
  }

  #decided(host: Host, before: Configuration, configuration: Configuration): void {
    const world = this.#world;
    world.check(
      before.epoch === this.head!.epoch && before.digest === this.head!.digest &&
        configuration.epoch === before.epoch + 1,
      "all have one chain of configurations",
      () => `${host.name} has ${nameOf(configuration)} after ${nameOf(before)}`,
    );
    const joined = configuration.members.filter((member) => !before.holds(member));
    const left = before.members.filter((member) => !configuration.holds(member));
    world.check(joined.length + left.length > 0, "no cut is empty", nameOf(configuration));
    for (const member of joined) {
      world.check(
        !this.#entered.has(stayOf(member)) || !this.#begun.has(stayOf(member)),
        "a stay enters once",
        () => `${stayOf(member)} in ${nameOf(configuration)}`,
      );
      this.#entered.add(stayOf(member));
    }
    this.#replay(before, configuration.digest);
    if (before.core.length === 2 && configuration.size === 1) world.mark("two changed into one");
    if (configuration.size === 2) world.mark("two members");
    this.#chain.set(configuration.epoch, configuration);
    this.head = configuration;
    world.decided(before, configuration, left);
  }

  /** Durable votes made this decision. */
  #replay(before: Configuration, value: bigint): void {
    const world = this.#world;
    const { twoMembers } = world.plan.protocol;
    const { core, members } = before;
    const said = (place: number, rank: Rank): boolean =>
      this.#of(before, members[place]).some((one) => one.voted === rank && one.value === value) ||
      this.#spoken(before, members[place]).some((one) =>
        one.value === value && (one.kind === "vote" ? fastRank : one.rank) === rank
      );
    if (isFastQuorum(core, (place) => said(place, fastRank), twoMembers)) {
      return world.mark("cut decided by fast votes");
    }
    const ranks = new Set<Rank>();
    for (const place of core) {
      for (const { voted } of this.#of(before, members[place])) ranks.add(voted);
    }
    for (const rank of ranks) {
      if (roundOf(rank) < 2) continue;
      if (!isClassicQuorum(core, (place) => said(place, rank), twoMembers)) continue;
      if (roundOf(rank) > 2) world.mark("round of a second coordinator");
      return world.mark("cut decided by classic votes");
    }
    world.violate(
      "durable votes of a quorum make a decision",
      `${nameOf(before)} was followed without them`,
    );
  }

  #of({ epoch, digest }: { epoch: number; digest: bigint }, member: Member): Acceptor[] {
    const key = `${epoch}/${digest}/${stayOf(member)}`;
    let acceptors = this.#acceptors.get(key);
    if (acceptors === undefined) {
      acceptors = [];
      this.#acceptors.set(key, acceptors);
    }
    return acceptors;
  }

  #spoken({ epoch, digest }: { epoch: number; digest: bigint }, member: Member): Vote[] {
    const key = `${epoch}/${digest}/${stayOf(member)}`;
    let spoken = this.#votes.get(key);
    if (spoken === undefined) {
      spoken = [];
      this.#votes.set(key, spoken);
    }
    return spoken;
  }

  /** A record is on a disk. */
  stored(host: Host, { self, durable: { configuration, acceptor } }: Saved): void {
    const world = this.#world;
    const acceptors = this.#of(configuration, self);
    const before = acceptors.at(-1);
    acceptors.push(acceptor);
    if (before === undefined) return;
    const isFirstVote = before.promised === noRank || acceptor.voted !== fastRank ||
      before.voted === fastRank;
    const isOneVote = acceptor.voted !== before.voted || acceptor.value === before.value;
    world.check(
      acceptor.promised >= before.promised && acceptor.voted >= before.voted && isFirstVote &&
        isOneVote,
      "an acceptor takes nothing back",
      () =>
        `${host.name} has promised ${acceptor.promised} and voted at ${acceptor.voted} after ` +
        `${before.promised} and ${before.voted}`,
    );
  }

  sending(process: Process, message: Message): void {
    if (message.kind === "gossip") this.#gossips(process, message);
    else if (message.kind === "cuts") this.#world.mark("cuts caught up");
  }

  /** What a node says of its own part is on its disk. */
  #gossips({ host, self }: Process, { configuration, tallies, notes }: Gossip): void {
    const place = this.#chain.get(configuration.epoch)?.placeOf(host.address);
    if (place === undefined) return;
    const acceptors = this.#of(configuration, self!);
    for (const { saying, places } of tallies) {
      if (!places.includes(place)) continue;
      this.#world.check(
        isBehind(acceptors, saying),
        "what is said is durable before",
        () => `${host.name} says ${describe(saying)} in epoch ${configuration.epoch}`,
      );
      if (saying.kind !== "promise") this.#spoken(configuration, self!).push(saying);
    }
    for (const note of notes) {
      if (note.kind !== "prepare" || placeOf(note.rank) !== place) continue;
      this.#world.check(
        acceptors.some(({ promised }) => promised >= note.rank),
        "what is said is durable before",
        () => `${host.name} asks for rank ${note.rank} in epoch ${configuration.epoch}`,
      );
    }
  }
}

/**
 * Whether the disk holds what is said. Several changes may go to the disk as one record, the last:
 * then a later promise stands for an earlier one, and a vote at a higher rank for one at a lower.
 */
function isBehind(acceptors: readonly Acceptor[], saying: Saying): boolean {
  switch (saying.kind) {
    case "vote":
      return acceptors.some(({ voted, value }) =>
        voted > fastRank || (voted === fastRank && value === saying.value)
      );
    case "promise":
      return acceptors.some(({ promised }) => promised >= saying.rank) &&
        acceptors.every(({ voted }) => voted >= saying.rank || voted <= saying.voted);
    case "accepted":
      return acceptors.some(({ voted, value }) =>
        voted > saying.rank || (voted === saying.rank && value === saying.value)
      );
  }
}

function describe(saying: Saying): string {
  const rank = saying.kind === "vote" ? "" : ` ${saying.rank}`;
  return `${saying.kind}${rank} of ${saying.value}`;
}

function stayOf({ address, nodeId, incarnation }: Member): string {
  return `${address} ${nodeId} ${incarnation}`;
}

function areSame(a: readonly Member[], b: readonly Member[]): boolean {
  return a === b || (a.length === b.length &&
    a.every((member, place) => stayOf(member) === stayOf(b[place])));
}

export function nameOf({ epoch, digest }: Configuration): string {
  return `${epoch}/${digest.toString(16)}`;
}
