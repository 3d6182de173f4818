/** Faults, one after the other as the seed wants them, each with its end. */
import { Prng } from "../../../src/base/prng.ts";
import { isClassicQuorum } from "./ledger.ts";
import { drawGarbage } from "./garbage.ts";
import type { Host } from "./host.ts";
import type { World } from "./world.ts";

type Fault = (chaos: Chaos) => void;

export class Chaos {
  readonly world: World;
  readonly random: Prng;
  /** What undoes the faults that last. */
  readonly #ends = new Set<() => void>();
  isOver = false;

  constructor(world: World) {
    this.world = world;
    this.random = new Prng(world.random.next());
  }

  /** One fault after the other until it is over. */
  begin(): void {
    const { world, random } = this;
    const waitMs = world.plan.faultEveryMs * (0.3 + 1.4 * random.fraction());
    world.at(waitMs, () => {
      if (this.isOver) return;
      random.pick(faults)(this);
      this.begin();
    });
  }

  /** Ends what lasts. */
  heal(): void {
    this.isOver = true;
    for (const end of [...this.#ends]) end();
  }

  count(): void {
    this.world.faults++;
  }

  /** For so long, or until all is healed. */
  lasting(forMs: number, end: () => void): void {
    const once = (): void => {
      if (this.#ends.delete(once)) end();
    };
    this.#ends.add(once);
    this.world.at(forMs, once);
  }

  duration(): number {
    const { random } = this;
    return random.pick([random.between(100, 3_000), random.between(2_000, 20_000)]);
  }

  /** Somebody who runs and whom no other fault has. */
  anybody(): Host | undefined {
    const hosts = this.world.hosts.filter(({ isRunning, isTaken, hasLeft }) =>
      isRunning && !isTaken && !hasLeft
    );
    return hosts.length === 0 ? undefined : this.random.pick(hosts);
  }

  some(most: number): Host[] {
    const hosts = this.world.hosts.filter(({ isRunning, isTaken, hasLeft }) =>
      isRunning && !isTaken && !hasLeft
    );
    const chosen: Host[] = [];
    for (let left = this.random.between(1, most); left > 0 && hosts.length > 0; left--) {
      chosen.push(...hosts.splice(this.random.below(hosts.length), 1));
    }
    return chosen;
  }

  /** Nothing passes from these to those. */
  cut(from: readonly Host[], to: readonly Host[], forMs: number): void {
    const { network } = this.world;
    const pairs = from.flatMap((one) =>
      to.filter((other) => other !== one).map((other) => network.path(one.index, other.index))
    );
    for (const path of pairs) path.cuts++;
    this.lasting(forMs, () => {
      for (const path of pairs) path.cuts--;
    });
  }

  /** Stops one, and starts it again after a while. */
  stop(host: Host, isPowerLost: boolean): void {
    const { world, random } = this;
    world.mark(isPowerLost ? "fault: power loss" : "fault: kill");
    this.count();
    if (isPowerLost) host.losePower();
    else host.kill();
    host.isTaken = true;
    const losesDisk = random.chance(0.15) && this.maySpare(host);
    if (losesDisk) {
      world.mark("fault: data directory lost");
      host.disk.lose();
    }
    this.lasting(random.pick([200, 1_500, 12_000, 30_000]), () => {
      host.isTaken = false;
      host.start();
    });
  }

  /** Whether the newest configurations can do without what is on its disk. */
  maySpare(host: Host): boolean {
    const { ledger, plan } = this.world;
    for (const epoch of [ledger.head!.epoch, ledger.head!.epoch - 1]) {
      const configuration = ledger.at(epoch);
      if (configuration === undefined) continue;
      const { core, members } = configuration;
      const isThere = (place: number): boolean => {
        const member = members[place];
        const other = this.world.hostAt(member.address);
        return other !== host && other.disk.saved?.self.incarnation === member.incarnation;
      };
      if (!isClassicQuorum(core, isThere, plan.protocol.twoMembers)) return false;
    }
    return true;
  }
}

function stopSome(chaos: Chaos, most: number, isPowerLost: boolean): void {
  for (const host of chaos.some(most)) chaos.stop(host, isPowerLost);
}

const faults: readonly Fault[] = [
  (chaos) => stopSome(chaos, 1, false),
  (chaos) => stopSome(chaos, 1, true),
  (chaos) => {
    chaos.world.mark("fault: crash of a group");
    stopSome(chaos, Math.max(2, chaos.world.hosts.length >> 2), chaos.random.chance(0.5));
  },
  (chaos) => {
    chaos.world.mark("fault: cascade of crashes");
    for (let at = 0; at < 4; at++) {
      chaos.world.at(at * chaos.random.between(200, 2_000), () => {
        if (!chaos.isOver) stopSome(chaos, 1, true);
      });
    }
  },
  (chaos) => {
    chaos.world.mark("fault: partition");
    chaos.count();
    const { hosts } = chaos.world;
    const side = hosts.filter(() => chaos.random.chance(0.4));
    const others = hosts.filter((host) => !side.includes(host));
    const forMs = chaos.duration();
    chaos.cut(side, others, forMs);
    chaos.cut(others, side, forMs);
  },
  (chaos) => {
    const host = chaos.anybody();
    if (host === undefined) return;
    chaos.world.mark("fault: one-way cut");
    chaos.count();
    const others = chaos.world.hosts.filter(() => chaos.random.chance(0.7));
    if (chaos.random.chance(0.5)) chaos.cut([host], others, chaos.duration());
    else chaos.cut(others, [host], chaos.duration());
  },
  (chaos) => {
    const host = chaos.anybody();
    if (host === undefined) return;
    chaos.world.mark("fault: deaf for a while, again and again");
    chaos.count();
    const eachMs = chaos.random.pick([800, 3_000, 8_000]);
    for (let at = 0; at < 4; at++) {
      chaos.world.at(2 * at * eachMs, () => {
        if (!chaos.isOver) chaos.cut(chaos.world.hosts, [host], eachMs);
      });
    }
  },
  (chaos) => {
    const host = chaos.anybody();
    if (host === undefined) return;
    chaos.world.mark("fault: loss one way");
    chaos.count();
    const loss = chaos.random.pick([0.1, 0.4, 0.8]);
    const isSender = chaos.random.chance(0.5);
    const paths = chaos.world.hosts.map(({ index }) =>
      isSender
        ? chaos.world.network.path(host.index, index)
        : chaos.world.network.path(index, host.index)
    );
    for (const path of paths) path.loss = loss;
    chaos.lasting(chaos.duration(), () => {
      for (const path of paths) path.loss = 0;
    });
  },
  (chaos) => {
    for (const host of chaos.some(3)) {
      const { process } = host;
      chaos.world.mark("fault: pause");
      chaos.count();
      host.isTaken = true;
      process!.pause();
      chaos.lasting(chaos.duration(), () => {
        host.isTaken = false;
        if (host.process === process) process!.resume();
      });
    }
  },
  (chaos) => {
    const host = chaos.anybody();
    if (host === undefined) return;
    chaos.world.mark("fault: slow disk");
    chaos.count();
    host.disk.slowness = chaos.random.pick([30, 1_000, 20_000]);
    chaos.lasting(chaos.duration(), () => host.disk.slowness = 1);
  },
  (chaos) => {
    const host = chaos.anybody();
    if (host === undefined) return;
    chaos.world.mark("fault: link reset");
    chaos.count();
    for (const link of host.process!.links.values()) {
      if (chaos.random.chance(0.5)) chaos.world.network.reset(link);
    }
  },
  (chaos) => {
    const { remembered, network } = chaos.world;
    if (remembered.length === 0) return;
    const { link, from, arrive } = chaos.random.pick(remembered);
    const to = link.other(from);
    if (to.isDead) return;
    chaos.world.mark("fault: message comes again");
    chaos.count();
    network.send(link, from, arrive);
    to.run(arrive);
  },
  (chaos) => {
    const host = chaos.anybody();
    const machine = host?.process?.machine;
    if (machine === undefined || machine.isEvicted) return;
    chaos.world.mark("fault: garbage");
    chaos.count();
    const { configuration, dropped } = machine;
    const before = dropped.invalid;
    const { address } = chaos.random.pick(configuration.members);
    const garbage = drawGarbage(chaos.random, configuration);
    machine.receive(address, garbage);
    chaos.world.check(
      dropped.invalid > before && machine.configuration === configuration,
      "what cannot be is dropped and counted",
      () => `${host!.name} took ${JSON.stringify(garbage, bigints)}`,
    );
    chaos.world.mark("garbage dropped");
    host!.process!.settle();
  },
];

function bigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
