/**
 * A cluster under random faults, all from one seed: what is safe must stay so after every step, and
 * when the faults end there must be progress. Each seed draws its own rates and limits, so that some
 * are calm in one respect and wild in another.
 */
import { encodeText } from "../../../../src/base/bytes.ts";
import { Prng } from "../../../../src/base/prng.ts";
import { emptyConfiguration, makeConfiguration } from "../../../../src/raft/core/configuration.ts";
import type { Options } from "../../../../src/raft/core/options.ts";
import type { Ready } from "../../../../src/raft/core/ready.ts";
import {
  ChangeType,
  type Configuration,
  type LogIndex,
  type Message,
  MessageType,
  type SingleChange,
  Transition,
} from "../../../../src/raft/core/types.ts";
import { Host, type MachineState } from "./host.ts";
import { Invariants, Violation } from "./invariants.ts";
import type { Reach } from "./reach.ts";

const inFlightMax = 150;
const pastMax = 100;
const idMax = 9;

/** Relative frequencies of what happens next. */
const weights = {
  deliver: 70,
  drop: 3,
  duplicate: 2,
  tick: 7,
  write: 30,
  apply: 20,
  propose: 5,
  read: 3,
  change: 1,
  transfer: 0.3,
  crash: 0.3,
  replay: 1.5,
  restart: 4,
  partition: 0.2,
  oneWay: 0.1,
  heal: 1,
  snapshot: 1.5,
  forget: 1,
  unreachable: 0.3,
  forgetLeader: 0.1,
  tickBurst: 0.1,
  stallDisk: 0.1,
  resumeDisk: 0.6,
  clockJump: 0.1,
  calm: 0.4,
};
type Action = keyof typeof weights;
/** Without these nothing happens at all. */
const vital: readonly Action[] = [
  "deliver",
  "tick",
  "write",
  "apply",
  "restart",
  "heal",
  "resumeDisk",
];
const actions = Object.keys(weights) as Action[];

export class Simulation {
  readonly seed: number;
  readonly invariants = new Invariants();
  readonly reach: Reach;
  readonly #random: Prng;
  readonly #options: Partial<Options>;
  readonly #weights: readonly number[];
  readonly #total: number;
  readonly #snapshots = new Map<number, MachineState>();
  readonly #hosts: Host[] = [];
  readonly #cut = new Set<string>();
  readonly #stalled = new Set<Host>();
  /** Reads in flight by host and number: what was committed when they were asked. */
  readonly #reads = new Map<string, number>();
  #inFlight: Message[] = [];
  /** Messages of late, to be delivered once more. */
  readonly #past: Message[] = [];
  #proposals = 0;

  constructor(seed: number, reach: Reach) {
    this.seed = seed;
    this.reach = reach;
    this.#random = new Prng(seed);
    const random = this.#random;
    const checkQuorum = random.chance(0.8);
    this.#options = {
      electionTicks: random.between(4, 10),
      preVote: random.chance(0.8),
      checkQuorum,
      readMode: checkQuorum && random.chance(0.35) ? "lease" : "readIndex",
      leaseMarginTicks: 2,
      appendBytesMax: random.pick([0, 60, 200, 5000]),
      inflightMessagesMax: random.pick([1, 2, 4, 64]),
      inflightBytesMax: random.pick([50, 400, 100_000]),
      applyingBytesMax: random.pick([1, 100, 100_000]),
      uncommittedBytesMax: random.pick([20, 100_000]),
      stepDownOnRemoval: random.chance(0.8),
    };
    this.#weights = actions.map((action) =>
      weights[action] *
      (vital.includes(action) ? random.pick([1, 1, 2]) : random.pick([0, 0.3, 1, 2]))
    );
    this.#total = this.#weights.reduce((sum, weight) => sum + weight, 0);
    this.invariants.deliver = (message) => this.#send(message);
    const founders = random.pick([[1, 2, 3], [1, 2, 3], [1, 2, 3, 4, 5], [1, 2], [1]]);
    for (const id of founders) this.#add(id, makeConfiguration(founders));
  }

  /** Random steps; a violated invariant throws. */
  run(steps: number): void {
    for (let step = 0; step < steps; step++) this.#step();
    this.#heal("after the faults");
    if (this.#random.chance(0.5)) this.#withoutAMinority();
    for (const host of this.#hosts) this.#count(host);
  }

  #add(id: number, configuration: Configuration): void {
    this.#hosts.push(
      new Host(id, configuration, {
        options: this.#options,
        observer: {
          sent: (host, message) => this.invariants.sent(host, message),
          handed: (host, ready) => this.#handed(host, ready),
          durable: (host) => this.invariants.durable(host),
          applied: (host, entry) => this.invariants.applied(host, entry),
          restored: (host, snapshot) => this.invariants.restored(host, snapshot),
          started: (host) => this.invariants.started(host),
          stepped: (host) => this.invariants.stepped(host),
        },
        snapshots: this.#snapshots,
        random: this.#random.fork(),
      }),
    );
  }

  #send(message: Message): void {
    this.#inFlight.push(message);
    if (this.#past.length < pastMax) this.#past.push(message);
    else this.#past[this.#random.below(pastMax)] = message;
    if (this.#inFlight.length > inFlightMax) {
      this.#lose(this.#inFlight.splice(this.#random.below(inFlightMax), 1)[0]);
    }
  }

  #handed(host: Host, ready: Ready): void {
    this.invariants.handed(host, ready);
    const { entries } = ready;
    if (entries.length > 0) {
      const last = host.writes.findLast((write) =>
        write.entries.length > 0
      )?.entries.at(-1)?.index ??
        host.diskLastIndex;
      if (entries[0].index <= last) {
        this.reach.add("truncated suffix");
        if (host.writes.length > 0) this.reach.add("truncated while being written");
      }
    }
    for (const { request, index } of ready.reads) {
      const key = `${host.id}/${request}`;
      const floor = this.#reads.get(key);
      if (floor === undefined) throw new Violation(`${host.id} answers a read that nobody asked`);
      if (index < floor) {
        throw new Violation(`${host.id} reads at ${index}, but ${floor} was committed before`);
      }
      this.#reads.delete(key);
      this.reach.add(
        ready.leadership?.role === "leader" || host.status.role === "leader"
          ? "read at the leader"
          : "read at a follower",
      );
    }
    for (const { kind, request, reason } of ready.dropped) {
      if (kind === "read") this.#reads.delete(`${host.id}/${request}`);
      this.reach.add(`dropped ${kind}: ${reason}`);
    }
  }

  #step(): void {
    let at = this.#random.fraction() * this.#total;
    let index = 0;
    while (index < actions.length - 1 && at >= this.#weights[index]) at -= this.#weights[index++];
    this.#act(actions[index]);
  }

  #act(action: Action): void {
    const random = this.#random;
    const up = this.#hosts.filter((host) => host.isUp);
    const host = up.length > 0 ? random.pick(up) : undefined;
    switch (action) {
      case "deliver":
        return this.#deliver(
          random.chance(0.7) ? 0 : random.below(Math.max(1, this.#inFlight.length)),
        );
      case "drop":
        if (this.#inFlight.length > 0) {
          this.#lose(this.#inFlight.splice(random.below(this.#inFlight.length), 1)[0]);
          this.reach.add("message lost");
        }
        return;
      case "duplicate":
        if (this.#inFlight.length > 0) {
          this.#inFlight.push(random.pick(this.#inFlight));
          this.reach.add("message duplicated");
        }
        return;
      case "replay":
        if (this.#past.length > 0) {
          this.#inFlight.push(random.pick(this.#past));
          this.reach.add("message replayed");
        }
        return;
      case "tick":
        // Leases need clocks that run alike; nothing else does.
        return this.#tick(
          this.#options.readMode === "lease" || random.chance(0.3) || host === undefined
            ? up
            : [host],
        );
      case "write":
        if (host !== undefined && !this.#stalled.has(host)) {
          host.completeWrites(random.between(1, Math.max(1, host.writes.length)));
        }
        return;
      case "apply":
        return host?.applyWork();
      case "propose":
        return host === undefined ? undefined : this.#propose(host);
      case "read":
        return host === undefined ? undefined : this.#read(host);
      case "change":
        return this.#change(up);
      case "transfer":
        if (host !== undefined) {
          const result = host.node.transferLeadership(random.pick(this.#hosts).id);
          this.reach.add(`transfer ${result.kind}`);
          host.collect();
        }
        return;
      case "crash":
        return host === undefined ? undefined : this.#crash(host);
      case "restart":
        return this.#restart(random.pick(this.#hosts));
      case "partition":
        return this.#partition();
      case "oneWay":
        this.#cut.add(`${random.pick(this.#hosts).id}>${random.pick(this.#hosts).id}`);
        this.reach.add("one-way cut");
        return;
      case "heal":
        return this.#cut.clear();
      case "snapshot":
        if (host?.takeSnapshot(random.pick([0, 0, 2, 10]))) this.reach.add("snapshot taken");
        return;
      case "forget":
        if (host?.forget(random.pick([0, 0, 2, 10]))) this.reach.add("compacted past the snapshot");
        return;
      case "unreachable":
        if (host !== undefined) {
          host.node.unreachable(random.pick(this.#hosts).id);
          host.collect();
          this.reach.add("unreachable");
        }
        return;
      case "forgetLeader":
        if (host?.node.forgetLeader()) {
          host.collect();
          this.reach.add("leader forgotten");
        }
        return;
      case "tickBurst":
        if (host !== undefined && this.#options.readMode !== "lease") {
          for (let at = 0; at < 30; at++) this.#tick([host]);
          this.reach.add("burst of ticks");
        }
        return;
      case "stallDisk":
        if (host !== undefined) {
          this.#stalled.add(host);
          this.reach.add("disk stalled");
        }
        return;
      case "resumeDisk":
        return this.#stalled.clear();
      case "calm":
        return this.#calm(up);
      case "clockJump":
        return host?.node.clockJumped();
    }
  }

  #deliver(at: number): void {
    const [message] = this.#inFlight.splice(at, 1);
    if (message === undefined) return;
    const to = this.#hosts.find(({ id }) => id === message.to);
    if (to === undefined || !to.isUp || this.#cut.has(`${message.from}>${message.to}`)) {
      this.#lose(message);
      return;
    }
    this.#reportSnapshot(message, true);
    to.node.step(message);
    to.collect();
  }

  #lose(message: Message): void {
    this.#reportSnapshot(message, false);
  }

  #reportSnapshot(message: Message, arrived: boolean): void {
    if (message.type !== MessageType.snapshot) return;
    const sender = this.#hosts.find(({ id }) => id === message.from)!;
    if (!sender.isUp) return;
    sender.node.snapshotSent(message.to, arrived);
    sender.collect();
  }

  #tick(hosts: readonly Host[]): void {
    for (const host of hosts) {
      host.node.tick();
      host.collect();
      if (host.node.wantsSnapshot && host.takeSnapshot(0)) {
        this.reach.add("snapshot taken on demand");
      }
    }
  }

  /**
   * A while without new faults: whoever is cut off or paused is left behind by the others. That is
   * often the leader, with proposals that nobody gets and reads that must not be answered.
   */
  #calm(up: readonly Host[]): void {
    const leader = this.#leader();
    const random = this.#random;
    const mayPause = this.#options.readMode !== "lease" && random.chance(0.3);
    const hosts = mayPause ? up.filter((host) => host !== leader) : up;
    if (leader !== undefined && random.chance(0.4)) this.#isolate([leader.id]);
    for (let round = random.between(1, 40); round > 0 && up.length > 0; round--) {
      this.#tick(hosts);
      for (let hop = random.between(1, 6); hop > 0; hop--) {
        for (let count = this.#inFlight.length; count > 0; count--) this.#deliver(0);
        for (const host of hosts) {
          if (!this.#stalled.has(host)) host.completeWrites(host.writes.length);
          host.applyWork();
        }
      }
      if (random.chance(0.3)) this.#propose(random.pick([...this.#believers(), random.pick(up)]));
      if (random.chance(0.3)) this.#read(random.pick(up));
    }
    this.reach.add("calm while");
  }

  /** Who takes itself for the leader. */
  #believers(): Host[] {
    return this.#hosts.filter((host) => host.isUp && host.status.role === "leader");
  }

  #propose(host: Host): void {
    const data: Uint8Array[] = [];
    for (let at = this.#random.between(1, 3); at > 0; at--) {
      data.push(encodeText(`${++this.#proposals}`.padEnd(this.#random.pick([0, 30]), ".")));
    }
    const result = host.node.propose(data);
    this.reach.add(
      `proposal ${result.kind === "dropped" ? `dropped: ${result.reason}` : result.kind}`,
    );
    host.collect();
  }

  #read(someone: Host): void {
    // Whoever believes to lead is the interesting one to ask.
    const believers = this.#believers();
    const host = believers.length > 0 && this.#random.chance(0.5)
      ? this.#random.pick(believers)
      : someone;
    if (believers.length > 1) this.reach.add("two leaders of different terms");

    const floor = this.invariants.committed;
    const request = host.node.readIndex();
    this.#reads.set(`${host.id}/${request}`, floor);
    host.collect();
  }

  #change(up: readonly Host[]): void {
    const leader = up.find((host) => host.status.role === "leader");
    const host = leader !== undefined && this.#random.chance(0.9)
      ? leader
      : this.#random.pick(this.#hosts);
    if (!host.isUp) return;
    const { configuration } = host.status;
    const isJoint = configuration.votersOutgoing.length > 0;
    const changes = isJoint && this.#random.chance(0.7) ? [] : this.#changes(configuration);
    const result = host.node.changeConfiguration({
      transition: this.#random.pick([
        Transition.auto,
        Transition.auto,
        Transition.jointImplicit,
        Transition.jointExplicit,
      ]),
      changes,
      context: new Uint8Array(0),
    });
    this.reach.add(
      `change ${result.kind === "dropped" ? `dropped: ${result.reason}` : result.kind}`,
    );
    host.collect();
  }

  /** One to three changes, mostly sensible. */
  #changes(configuration: Configuration): SingleChange[] {
    const random = this.#random;
    const { voters, learners } = configuration;
    const changes: SingleChange[] = [];
    for (let at = random.pick([1, 1, 1, 2, 3]); at > 0; at--) {
      const wish = random.below(4);
      if (wish === 0 && this.#hosts.length < idMax) {
        const id = this.#hosts.length + 1;
        this.#add(id, emptyConfiguration);
        const type = random.pick([ChangeType.addVoter, ChangeType.addLearner]);
        changes.push({ type, replica: id });
      } else if (wish === 1 && learners.length > 0) {
        changes.push({ type: ChangeType.addVoter, replica: random.pick(learners) });
      } else if (wish === 2 && voters.length > 1) {
        changes.push({ type: ChangeType.remove, replica: random.pick(voters) });
      } else {
        const type = random.pick([ChangeType.addLearner, ChangeType.addVoter]);
        // Removed ids come back here, which a driver never does; the core must bear it.
        const known = [...voters, ...learners];
        if (known.length > 0) changes.push({ type, replica: random.pick(known) });
      }
    }
    return changes;
  }

  #crash(host: Host): void {
    this.#count(host);
    if (host.writes.length > 0) this.reach.add("crash with unsynced batches");
    if (host.status.role === "leader") this.reach.add("leader crashed");
    host.crash(this.#random.below(host.writes.length + 1));
    this.invariants.durable(host);
    this.#stalled.delete(host);
    for (const key of [...this.#reads.keys()]) {
      if (key.startsWith(`${host.id}/`)) this.#reads.delete(key);
    }
  }

  #restart(host: Host): void {
    if (host.isUp) return;
    host.start();
    host.collect();
    this.reach.add("restarted");
  }

  #partition(): void {
    const leader = this.#leader();
    const alone = leader !== undefined && this.#random.chance(0.4);
    this.#isolate(
      alone ? [leader.id] : this.#hosts.filter(() => this.#random.chance(0.5)).map(({ id }) => id),
    );
    this.reach.add("partition");
  }

  /** Nothing passes between these and the others. */
  #isolate(side: readonly number[]): void {
    for (const { id: one } of this.#hosts) {
      for (const { id: other } of this.#hosts) {
        if (side.includes(one) !== side.includes(other)) this.#cut.add(`${one}>${other}`);
      }
    }
  }

  #count(host: Host): void {
    if (!host.isUp) return;
    for (const [name, count] of Object.entries(host.status.counters)) this.reach.add(name, count);
    if (host.status.configuration.votersOutgoing.length > 0) this.reach.add("joint configuration");
  }

  /** Faults end; a new proposal has to be applied by every member. */
  #heal(when: string): void {
    this.#cut.clear();
    this.#stalled.clear();
    for (const host of this.#hosts) this.#restart(host);
    this.#demandProgress(when);
    // Reads whose message was lost are given up after an election timeout.
    for (let round = 0; round < 30; round++) {
      this.#tick(this.#hosts);
      this.#settle();
    }
    if (this.#reads.size > 0) {
      throw new Violation(`${this.#reads.size} reads were never answered ${when}`);
    }
  }

  #withoutAMinority(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    const { voters, votersOutgoing } = leader.status.configuration;
    if (votersOutgoing.length > 0 || voters.length < 3) return;
    const gone = this.#random.pick(voters);
    this.#crash(this.#hosts.find(({ id }) => id === gone)!);
    this.reach.add("progress without one voter");
    this.#demandProgress(`without ${gone}`);
  }

  #demandProgress(when: string): void {
    let target = 0;
    for (let round = 0; round < 600; round++) {
      this.#tick(this.#hosts.filter((host) => host.isUp));
      this.#settle();
      const leader = this.#leader();
      if (leader === undefined) continue;
      if (!leader.status.isVoter) {
        // Without stepDownOnRemoval that is the driver's to do.
        leader.node.resign();
        leader.collect();
        this.reach.add("removed leader resigned");
        continue;
      }
      if (target === 0 || leader.status.committed < target) {
        const result = leader.node.propose([encodeText(`progress ${round}`)]);
        if (result.kind === "appended") target = result.index;
        leader.collect();
        this.#settle();
      }
      if (target > 0 && this.#hasConverged(leader, target)) return;
    }
    throw new Violation(`no progress ${when}`);
  }

  #hasConverged(leader: Host, target: number): boolean {
    const { configuration, members } = leader.status;
    if (configuration.autoLeave) return false;
    return members.every(({ id }) => {
      const host = this.#hosts.find((one) => one.id === id);
      return host === undefined || !host.isUp || host.machine.index >= target;
    });
  }

  #leader(): Host | undefined {
    return this.#hosts.filter((host) => host.isUp && host.status.role === "leader")
      .sort((a, b) => b.status.term - a.status.term)[0];
  }

  #settle(): void {
    for (let turn = 0; turn < 2000; turn++) {
      let busy = false;
      for (const host of this.#hosts) {
        if (!host.isUp) continue;
        if (host.writes.length > 0) {
          host.completeWrites(host.writes.length);
          busy = true;
        }
        if (host.work.length > 0) {
          host.applyWork();
          busy = true;
        }
      }
      for (let count = this.#inFlight.length; count > 0; count--) {
        this.#deliver(0);
        busy = true;
      }
      if (!busy) return;
    }
    throw new Violation("the cluster does not come to rest");
  }

  /** What a log holds, for whoever looks into a failure. */
  describe(): string {
    return this.#hosts.map((host) => {
      if (!host.isUp) return `${host.id} down`;
      const { role, term, lastIndex, committed, applied, configuration } = host.status;
      return `${host.id} ${role} ${term}, ${applied}/${committed}/${lastIndex as LogIndex}, ` +
        JSON.stringify(configuration);
    }).join("\n");
  }
}
