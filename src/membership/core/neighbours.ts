/**
 * To whom this node passes on what it learns of a configuration: core members to the first of their
 * neighbours on the core's rings that are linked, leaves to a few of the core. When one is cut off the
 * next one takes its place and is told everything.
 */
import type { Subject } from "./alerts.ts";
import type { Cut } from "./configuration.ts";
import type { Note, Tally } from "./consensus.ts";
import { idOf } from "./history.ts";
import { type Member, MemberRole } from "./member.ts";
import type { Gossip, Message } from "./message.ts";
import type { ProtocolOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import type { Round, RoundListener } from "./round.ts";

interface Neighbour {
  readonly outbox: Outbox;
  /** When it may be told something again. */
  nextMs: number;
}

/** What follows from the neighbour's own message is not told back to it. */
export class Neighbours implements RoundListener {
  readonly #options: ProtocolOptions;
  readonly #linked = new Set<string>();
  /** By address. */
  readonly #active = new Map<string, Neighbour>();
  #messages: { readonly to: string; readonly message: Message }[] = [];
  #round: Round | undefined = undefined;
  #wanted: readonly number[] = [];
  #isLeaf = false;
  /** How many were said to be gone when neighbours were chosen. */
  #failing = 0;
  /** Whose message is being worked on. */
  #heard: string | undefined = undefined;
  #heardJoiners: readonly Member[] = [];

  constructor(options: ProtocolOptions) {
    this.#options = options;
  }

  /** Places with which there should be links, the best ones first. */
  get wanted(): readonly number[] {
    return this.#wanted;
  }

  get dueMs(): number {
    let dueMs = this.#messages.length > 0 ? 0 : Infinity;
    for (const { outbox, nextMs } of this.#active.values()) {
      if (!outbox.isEmpty) dueMs = Math.min(dueMs, nextMs);
    }
    return dueMs;
  }

  /** Those to whom what members say of themselves is passed on: leaves that are linked, too. */
  get told(): string[] {
    const told = [...this.#active.keys()];
    const configuration = this.#round?.configuration;
    if (this.#isLeaf || configuration === undefined) return told;
    for (const address of this.#linked) {
      if (configuration.memberAt(address)?.role === MemberRole.leaf) told.push(address);
    }
    return told;
  }

  begin(round: Round, self: number): void {
    const { configuration } = round;
    this.#round = round;
    this.#active.clear();
    const member = configuration.members[self];
    this.#isLeaf = member?.role === MemberRole.leaf;
    if (member === undefined) this.#wanted = [];
    else if (this.#isLeaf) this.#wanted = configuration.anchorsOf(member.address);
    else this.#wanted = configuration.neighboursOf(self);
    this.#choose();
  }

  linked(address: string): void {
    this.#linked.add(address);
    this.#active.delete(address);
    this.#choose();
  }

  unlinked(address: string): void {
    this.#linked.delete(address);
    if (this.#active.delete(address)) this.#choose();
  }

  /** A neighbour did not take in what it was told. */
  retell(address: string): void {
    if (this.#active.delete(address)) this.#choose();
  }

  send(to: string, message: Message): void {
    if (this.#linked.has(to)) this.#messages.push({ to, message });
  }

  /** Before a message is merged: its sender knows what is in it. */
  hears(from: string, { joiners }: Gossip): void {
    this.#heard = from;
    this.#heardJoiners = joiners;
  }

  /** It is merged. */
  heard(): void {
    const outbox = this.#heard === undefined ? undefined : this.#active.get(this.#heard)?.outbox;
    for (const { incarnation } of this.#heardJoiners) {
      const subject = this.#round?.alerts.joinerOf(incarnation);
      if (subject !== undefined) outbox?.knows(subject);
    }
    this.#heard = undefined;
    this.#heardJoiners = [];
  }

  /** What the decision is: those who know the cut need no more; leaves were told nothing of it. */
  decided({ configuration }: Round, cut: Cut): void {
    const value = configuration.digestAfter(cut);
    const id = idOf(configuration);
    const to = { epoch: id.epoch + 1, digest: value };
    for (const address of this.#linked) {
      const member = configuration.memberAt(address);
      if (member === undefined) continue;
      if (member.role === MemberRole.leaf) {
        if (!this.#isLeaf) this.send(address, { kind: "cuts", from: id, cuts: [cut], to });
      } else if (this.#active.has(address)) {
        this.send(address, { kind: "decided", configuration: id, value });
      }
    }
  }

  alerted(subject: Subject, rings: number): void {
    for (const [address, { outbox }] of this.#active) {
      if (address !== this.#heard) outbox.alerted(subject, rings);
    }
  }

  noted(note: Note): void {
    for (const [address, { outbox }] of this.#active) {
      if (address !== this.#heard) outbox.noted(note);
    }
  }

  tallied(tally: Tally, places: Iterable<number>): void {
    for (const [address, { outbox }] of this.#active) {
      if (address !== this.#heard) outbox.tallied(tally, places);
    }
  }

  take(nowMs: number): readonly { readonly to: string; readonly message: Message }[] {
    if (this.#round?.alerts.failing().size !== this.#failing) this.#choose();
    const messages = this.#messages;
    this.#messages = [];
    for (const [to, neighbour] of this.#active) {
      if (nowMs < neighbour.nextMs || neighbour.outbox.isEmpty) continue;
      for (;;) {
        const message = neighbour.outbox.take();
        if (message === undefined) break;
        messages.push({ to, message });
      }
      neighbour.nextMs = nowMs + this.#options.flushMs;
    }
    return messages;
  }

  #choose(): void {
    const round = this.#round;
    if (round === undefined) return;
    const { members, size } = round.configuration;
    const failing = round.alerts.failing();
    this.#failing = failing.size;
    // Whoever is said to be gone is told, too, and counts for nothing.
    let there = 0;
    for (const place of this.#wanted) {
      if (this.#active.has(members[place].address) && !failing.has(place)) there++;
    }
    for (const place of this.#wanted) {
      if (there >= this.#options.neighbours) return;
      const { address } = members[place];
      if (!this.#linked.has(address) || this.#active.has(address)) continue;
      if (!failing.has(place)) there++;
      const outbox = new Outbox(idOf(round.configuration), size, round.alerts);
      round.tell(outbox);
      this.#active.set(address, { outbox, nextMs: 0 });
    }
  }
}
