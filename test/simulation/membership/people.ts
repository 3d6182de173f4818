/** What people do meanwhile: they add nodes, have some leave, and send some away. */
import { Prng } from "../../../src/base/prng.ts";
import { MemberRole } from "../../../src/membership/core/member.ts";
import { isClassicQuorum } from "./ledger.ts";
import type { Host } from "./host.ts";
import type { World } from "./world.ts";

/** Nodes there may be at once. */
const hostsMost = 60;
const stormMost = 8;

export class People {
  readonly #world: World;
  readonly #random: Prng;
  isOver = false;

  constructor(world: World) {
    this.#world = world;
    this.#random = new Prng(world.random.next());
  }

  begin(): void {
    const world = this.#world;
    world.at(world.plan.changeEveryMs * (0.3 + 1.4 * this.#random.fraction()), () => {
      if (this.isOver) return;
      const random = this.#random;
      const chance = random.fraction();
      if (chance < 0.3) this.#add(1);
      else if (chance < 0.4) this.#storm();
      else if (chance < 0.6) this.#letGo();
      else if (chance < 0.75) this.#sendAway();
      else this.#bringBack();
      this.begin();
    });
  }

  #storm(): void {
    this.#world.mark("joins in a storm");
    this.#add(this.#random.between(3, stormMost));
  }

  #add(count: number): void {
    const world = this.#world;
    for (let at = 0; at < count && world.hosts.length < hostsMost; at++) {
      const isLeaf = this.#random.chance(world.plan.leafChance);
      const host = world.addHost(isLeaf ? MemberRole.leaf : MemberRole.core);
      host.start();
    }
  }

  #members(): Host[] {
    return this.#world.hosts.filter(({ process, isTaken }) =>
      process?.view !== undefined && !process.isLeaving && !isTaken
    );
  }

  #letGo(): void {
    const members = this.#members();
    // Now and then all but one go at the same time.
    const count = this.#random.chance(0.1) ? members.length - 1 : 1;
    for (const host of members.slice(0, Math.min(count, members.length - 1))) {
      if (this.#mayGo(host)) host.process!.leave();
    }
  }

  /** Somebody who leaves votes as long as it is there; what is kept of it then is nothing. */
  #mayGo(host: Host): boolean {
    const { core, members } = this.#world.ledger.head!;
    const isThere = (place: number): boolean => {
      const other = this.#world.hostAt(members[place].address);
      return other === host || other.process?.view?.holds(members[place]) === true;
    };
    return isClassicQuorum(core, isThere, this.#world.plan.protocol.twoMembers);
  }

  #sendAway(): void {
    const members = this.#members();
    if (members.length < 2) return;
    const host = this.#random.pick(members);
    const { view } = host.process!;
    this.#world.mark("kicked");
    host.process!.kick(this.#random.pick(view!.members).address);
  }

  /** One that had left comes as another stay, or with an empty disk. */
  #bringBack(): void {
    const gone = this.#world.hosts.filter(({ hasLeft, isTaken, isRunning }) =>
      hasLeft && !isTaken && !isRunning
    );
    if (gone.length === 0) return;
    const host = this.#random.pick(gone);
    host.hasLeft = false;
    host.disk.saved = undefined;
    host.start();
  }
}
