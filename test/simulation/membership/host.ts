/** A machine: its address, its disk, and the process that runs on it. */
import type { Durable } from "../../../src/membership/core/membership.ts";
import type { Member, MemberRole } from "../../../src/membership/core/member.ts";
import { Process } from "./process.ts";
import type { World } from "./world.ts";

/** What a node keeps: who it is, and what it must not forget. */
export interface Saved {
  readonly self: Member;
  readonly durable: Durable;
}

interface Write {
  readonly saved: Saved;
  readonly done: () => void;
}

/** Writes one record after the other. What was not synced when the power went may be there or not. */
export class Disk {
  readonly #world: World;
  readonly #host: Host;
  nodeId: string;
  saved: Saved | undefined = undefined;
  /** Syncs take so many times longer. */
  #slowness = 1;
  writes = 0;
  #writes: Write[] = [];
  #generation = 0;

  constructor(world: World, host: Host) {
    this.#world = world;
    this.#host = host;
    this.nodeId = world.drawNodeId();
  }

  /** From now on, and for the sync that is under way. */
  set slowness(times: number) {
    this.#slowness = times;
    this.#generation++;
    if (this.#writes.length > 0) this.#next();
  }

  write(saved: Saved, done: () => void): void {
    this.#writes.push({ saved, done });
    if (this.#writes.length === 1) this.#next();
  }

  #next(): void {
    const world = this.#world;
    const [least, most] = world.plan.syncMs;
    const generation = this.#generation;
    world.at((least + world.random.fraction() * (most - least)) * this.#slowness, () => {
      if (generation !== this.#generation) return;
      const { saved, done } = this.#writes.shift()!;
      this.#keep(saved);
      if (this.#writes.length > 0) this.#next();
      done();
    });
  }

  #keep(saved: Saved): void {
    this.saved = saved;
    this.writes++;
    this.#world.ledger.stored(this.#host, saved);
  }

  /** The process or the power is gone: some of what was under way is there, the rest never was. */
  cutOff(): void {
    this.#generation++;
    const pending = this.#writes;
    this.#writes = [];
    if (pending.length === 0) return;
    const kept = this.#world.random.below(pending.length + 1);
    for (const { saved } of pending.slice(0, kept)) this.#keep(saved);
    if (kept > 0) this.#world.mark("unsynced record kept");
    if (kept < pending.length) this.#world.mark("unsynced record lost");
  }

  /** The data directory is empty: another node as far as anybody knows. */
  lose(): void {
    this.saved = undefined;
    this.nodeId = this.#world.drawNodeId();
  }
}

export class Host {
  readonly index: number;
  readonly name: string;
  readonly address: string;
  readonly role: MemberRole;
  readonly disk: Disk;
  readonly #world: World;
  process: Process | undefined = undefined;
  /** It answers at least that nobody is there. */
  isOn = true;
  /** It left and stays out. */
  hasLeft = false;
  /** A fault has it: others keep off. */
  isTaken = false;

  constructor(world: World, index: number, role: MemberRole) {
    this.#world = world;
    this.index = index;
    this.name = `n${index}`;
    this.address = `tcp://n${index}:7946`;
    this.role = role;
    this.disk = new Disk(world, this);
  }

  get isRunning(): boolean {
    return this.process !== undefined;
  }

  /** Goes on as the member that its disk knows, or asks to be let in. */
  start(): void {
    this.isOn = true;
    const process = new Process(this.#world, this);
    this.process = process;
    const { saved } = this.disk;
    if (saved !== undefined && saved.durable.configuration.holds(saved.self)) {
      this.#world.mark("member restarted as the same one");
      process.begin(saved.self, saved.durable, true);
    } else process.join(this.#world.seedsFor(this));
  }

  found(self: Member, durable: Durable): void {
    const process = new Process(this.#world, this);
    this.process = process;
    process.begin(self, durable, false);
  }

  /** The process ends, and its peers hear of it. */
  kill(): void {
    const { process } = this;
    this.process = undefined;
    this.disk.cutOff();
    process?.end(true);
  }

  /** Nothing is heard of it any more. */
  losePower(): void {
    const { process } = this;
    this.isOn = false;
    this.process = undefined;
    this.disk.cutOff();
    process?.end(false);
  }
}
