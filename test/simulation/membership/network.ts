/**
 * Links between processes as TCP has them: in order, held up by loss and cuts, given up after a
 * while, reset when a process ends; and calls, which are lost in a cut.
 */
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** How long it takes until a segment is sent again, at first and at most. */
const resendMs = 200;
const resendMsMax = 5_000;
/** A link on which nothing passes for so long is given up. */
export const deadMs = 15_000;
/** Between two tries of what is held up. */
const retryMs = 400;

/** What is wrong between two hosts, one way. */
export interface Path {
  /** Faults that let nothing pass. */
  cuts: number;
  loss: number;
}

/** One way of a link. */
interface Direction {
  readonly to: Process;
  /** What is sent later does not overtake. */
  clearMs: number;
  /** What is held up, in order. */
  readonly held: (() => void)[];
  heldSinceMs: number;
}

export class Link {
  readonly ends: readonly [Process, Process];
  readonly #directions: readonly [Direction, Direction];
  isUp = true;

  constructor(a: Process, b: Process) {
    this.ends = [a, b];
    this.#directions = [direction(b), direction(a)];
  }

  other(process: Process): Process {
    return this.ends[0] === process ? this.ends[1] : this.ends[0];
  }

  towards(process: Process): Direction {
    return this.#directions[this.ends[1] === process ? 0 : 1];
  }
}

function direction(to: Process): Direction {
  return { to, clearMs: 0, held: [], heldSinceMs: 0 };
}

export class Network {
  readonly #world: World;
  readonly #paths = new Map<number, Path>();
  messages = 0;

  constructor(world: World) {
    this.#world = world;
  }

  path(from: number, to: number): Path {
    const key = from * 4_096 + to;
    let path = this.#paths.get(key);
    if (path === undefined) {
      path = { cuts: 0, loss: 0 };
      this.#paths.set(key, path);
    }
    return path;
  }

  isCut(from: number, to: number): boolean {
    return (this.#paths.get(from * 4_096 + to)?.cuts ?? 0) > 0;
  }

  /** How long a segment takes, with those that are lost before. */
  delay(from: number, to: number): number {
    const { plan, random } = this.#world;
    let delayMs = plan.latencyMs + random.fraction() * plan.jitterMs;
    const loss = Math.max(plan.loss, this.#paths.get(from * 4_096 + to)?.loss ?? 0);
    if (loss === 0) return delayMs;
    for (let waitMs = resendMs; delayMs < deadMs && random.chance(loss);) {
      delayMs += waitMs;
      waitMs = Math.min(2 * waitMs, resendMsMax);
    }
    return delayMs;
  }

  /** Runs at the other end when it arrives there. */
  send(link: Link, from: Process, arrive: () => void): void {
    const world = this.#world;
    const to = link.other(from);
    const way = link.towards(to);
    this.messages++;
    const atMs = Math.max(world.nowMs + this.delay(from.host.index, to.host.index), way.clearMs);
    way.clearMs = atMs;
    world.at(atMs - world.nowMs, () => this.#arrive(link, from, way, arrive));
  }

  #arrive(link: Link, from: Process, way: Direction, arrive: () => void): void {
    if (!link.isUp) return;
    const { host } = way.to;
    if (way.held.length > 0 || !this.#passes(link, from, way)) {
      if (way.held.push(arrive) === 1) {
        way.heldSinceMs = this.#world.nowMs;
        this.#retry(link, from, way);
      }
      return;
    }
    if (way.to !== host.process) return this.reset(link);
    way.to.run(arrive);
  }

  #passes(_link: Link, from: Process, { to }: Direction): boolean {
    return !this.isCut(from.host.index, to.host.index) && to.host.isOn;
  }

  #retry(link: Link, from: Process, way: Direction): void {
    this.#world.at(retryMs, () => {
      if (!link.isUp) return;
      if (this.#passes(link, from, way)) {
        const held = way.held.splice(0);
        for (const arrive of held) this.#arrive(link, from, way, arrive);
      } else if (this.#world.nowMs - way.heldSinceMs > deadMs) this.reset(link);
      else this.#retry(link, from, way);
    });
  }

  /** Both ends find out. */
  reset(link: Link): void {
    if (!link.isUp) return;
    link.isUp = false;
    for (const end of link.ends) {
      this.#world.at(this.#world.plan.latencyMs, () => {
        if (!end.isDead) end.run(() => end.unlinked(link));
      });
    }
  }

  /** One process wants a link with another host. */
  dial(from: Process, to: number, done: () => void): void {
    const world = this.#world;
    const there = this.delay(from.host.index, to) + this.delay(to, from.host.index);
    world.at(there, () => {
      done();
      const { process, isOn } = world.hosts[to];
      const isLost = this.isCut(from.host.index, to) || this.isCut(to, from.host.index);
      if (isLost || !isOn || process === undefined || from.isDead || process.isPaused) return;
      if (from.isPaused) return;
      const link = new Link(from, process);
      from.run(() => from.linked(link));
      process.run(() => process.linked(link));
    });
  }

  /** A call: `lost` when nobody is there who says so. */
  call(from: number, to: number, run: (process: Process | undefined) => void): void {
    const world = this.#world;
    if (this.isCut(from, to)) return;
    this.messages++;
    world.at(this.delay(from, to), () => {
      const { process, isOn } = world.hosts[to];
      if (this.isCut(from, to) || !isOn) return;
      if (process === undefined) run(undefined);
      else process.run(() => run(process));
    });
  }
}
