/**
 * A small cluster that is played second by second: nodes that crash, come back, lose their data,
 * leave, or are cut off from the view, from the leader, or from both; a group whose changes take
 * their time and may come to nothing; a pilot that follows its leader. What the pilot is shown is
 * kept here a second time, and every change is judged by that (judge.ts).
 */
import { Prng } from "../../../src/base/prng.ts";
import { Pilot } from "../../../src/autopilot/core/pilot.ts";
import {
  type Change,
  defaultPolicy,
  type Departure,
  type Evaluation,
  type Inputs,
  type Policy,
} from "../../../src/autopilot/core/types.ts";
import { Judge } from "./judge.ts";

export interface ModelNode {
  readonly name: string;
  nodeId: string;
  readonly zone: string;
  readonly isLeaf: boolean;
  isUp: boolean;
  /** It never comes back. */
  isGone: boolean;
  /** The replica whose log is on its disk; 0 without one. */
  replica: number;
  incarnation: bigint;
  inView: boolean;
  /** When the view follows what happened. */
  viewAtMs: number | undefined;
  /** The other members do not see it, whatever it does. */
  isHidden: boolean;
  /** The leader does not reach it, whatever it does. */
  isCut: boolean;
  departure: Departure | undefined;
  /** It has said so, and will. */
  isLeaving: boolean;
  leavesAtMs: number | undefined;
  /** When it comes back by itself. */
  backAtMs: number | undefined;
}

export interface ModelReplica {
  readonly id: number;
  readonly nodeId: string;
  readonly name: string;
  match: number;
  inContact: boolean;
  heardMs: number;
  snapshotUntilMs: number;
}

interface Flight {
  readonly change: Change;
  readonly endsAtMs: number;
  readonly willFail: boolean;
}

export const stepMs = 500;
/** Silence after which the leader says that it has no contact. */
const contactMs = 1_500;

export class Model {
  readonly random: Prng;
  readonly policy: Policy;
  readonly nodes: ModelNode[] = [];
  replicas = new Map<number, ModelReplica>();
  voters: number[] = [];
  /** While a joint configuration stands. */
  outgoing: number[] = [];
  leader: number | undefined;
  nowMs = 0;
  lastIndex = 5_000;
  changes = 0;
  evaluation: Evaluation | undefined = undefined;
  readonly judge: Judge;
  /** Chance of a change to come to nothing. */
  failure = 0;
  #pilot: Pilot;
  #flight: Flight | undefined = undefined;
  /** A joint configuration that the next leader has to leave. */
  #unfinished: Change | undefined = undefined;
  #electedMs = 0;
  #nextReplica = 1;
  #nextNode = 1;
  readonly #departures = new Map<string, Departure>();

  constructor(seed: number) {
    const random = this.random = new Prng(seed);
    this.policy = {
      ...defaultPolicy,
      voters: random.pick([1, 3, 3, 3, 5, 7]),
      learnersMax: random.pick([12, 12, 12, 2, 0]),
      replaceAfterMs: 20_000,
      removeAfterMs: 90_000,
      stabilizeMs: 5_000,
    };
    const zones = random.pick([[""], ["", "a"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]]);
    const founders = random.pick([1, 1, 2, 3, 3, 4, 5, 7]);
    for (let at = 0; at < founders; at++) {
      const node = this.#join(random.pick(zones), false);
      this.voters.push(this.#seat(node).id);
    }
    const others = random.below(7);
    for (let at = 0; at < others; at++) this.#join(random.pick(zones), random.chance(0.1));
    this.leader = random.pick(this.voters);
    this.#pilot = new Pilot(this.policy);
    this.judge = new Judge(this);
  }

  /** Plays some time. */
  run(ms: number, event?: () => void): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs;) {
      this.nowMs += stepMs;
      event?.();
      this.#step();
    }
  }

  node(replica: number): ModelNode | undefined {
    const { nodeId } = this.replicas.get(replica)!;
    return this.nodes.find((node) => node.nodeId === nodeId);
  }

  /** It runs as this replica, and messages get through to whoever asks. */
  works(replica: number): boolean {
    const node = this.node(replica);
    return node !== undefined && node.isUp && !node.isCut && node.replica === replica;
  }

  /** Whether a majority works without this node, should it be lost for good now. */
  canLose(node: ModelNode): boolean {
    return this.#haveMajority((id) => this.node(id) !== node && this.works(id));
  }

  /** Whether a majority can come back without this node, which works until it is taken out. */
  canLeave(node: ModelNode): boolean {
    return this.#haveMajority((id) => {
      const other = this.node(id);
      return other !== undefined && other !== node && other.replica === id;
    });
  }

  #haveMajority(is: (replica: number) => boolean): boolean {
    return [this.voters, this.outgoing].every((half) => {
      const some = half.filter((id) => is(id) && !this.node(id)!.isGone);
      return half.length === 0 || some.length > Math.floor(half.length / 2);
    });
  }

  crash(node: ModelNode, backAtMs: number | undefined): void {
    node.isUp = false;
    node.backAtMs = backAtMs;
    this.#viewFollows(node);
  }

  restart(node: ModelNode): void {
    node.isUp = true;
    node.backAtMs = undefined;
    this.#viewFollows(node);
  }

  hide(node: ModelNode, isHidden: boolean): void {
    node.isHidden = isHidden;
    this.#viewFollows(node);
  }

  loseLog(node: ModelNode): void {
    node.replica = 0;
  }

  loseDirectory(node: ModelNode): void {
    node.replica = 0;
    node.nodeId = `n${this.#nextNode++}`;
    if (node.inView) node.incarnation++;
  }

  /** Says that it goes first, for a while or not at all. */
  leave(node: ModelNode, departure: Departure): void {
    node.isGone = true;
    node.isLeaving = departure === "left";
    node.leavesAtMs = this.nowMs + (node.isLeaving ? this.random.below(10_000) : 0);
    node.departure = departure;
  }

  #goes(node: ModelNode): void {
    node.leavesAtMs = undefined;
    node.isLeaving = false;
    node.inView = false;
    node.viewAtMs = undefined;
    this.#departures.set(node.nodeId, node.departure!);
  }

  heal(): void {
    this.failure = 0;
    for (const node of this.nodes) {
      node.isCut = false;
      if (node.isHidden) this.hide(node, false);
      if (!node.isUp && !node.isGone) this.restart(node);
    }
  }

  // -------------------------------------------------------------------------------------------

  #join(zone: string, isLeaf: boolean): ModelNode {
    const node: ModelNode = {
      name: `name${this.nodes.length}`,
      nodeId: `n${this.#nextNode++}`,
      zone,
      isLeaf,
      isUp: true,
      isGone: false,
      replica: 0,
      incarnation: 1n,
      inView: true,
      viewAtMs: undefined,
      isHidden: false,
      isCut: false,
      departure: undefined,
      isLeaving: false,
      leavesAtMs: undefined,
      backAtMs: undefined,
    };
    this.nodes.push(node);
    return node;
  }

  #seat(node: ModelNode): ModelReplica {
    const replica: ModelReplica = {
      id: this.#nextReplica++,
      nodeId: node.nodeId,
      name: node.name,
      match: this.nowMs === 0 ? this.lastIndex : 0,
      inContact: true,
      heardMs: this.nowMs,
      snapshotUntilMs: this.nowMs + this.random.below(4_000),
    };
    node.replica = replica.id;
    this.replicas.set(replica.id, replica);
    return replica;
  }

  #viewFollows(node: ModelNode): void {
    if (node.departure !== undefined) return;
    // To notice a failure takes longer than to be let in.
    const isThere = node.isUp && !node.isHidden;
    node.viewAtMs = this.nowMs +
      (isThere ? this.random.between(500, 2_500) : this.random.between(1_500, 8_000));
  }

  #step(): void {
    for (const node of this.nodes) {
      if (node.backAtMs !== undefined && this.nowMs >= node.backAtMs) this.restart(node);
      if (node.leavesAtMs !== undefined && this.nowMs >= node.leavesAtMs) this.#goes(node);
      if (node.viewAtMs !== undefined && this.nowMs >= node.viewAtMs) {
        node.viewAtMs = undefined;
        const isThere = node.isUp && !node.isHidden;
        if (isThere && !node.inView) node.incarnation++;
        node.inView = isThere;
      }
    }
    this.lastIndex += this.random.below(100);
    this.#elect();
    this.#replicate();
    if (
      this.#unfinished !== undefined && this.leader !== undefined &&
      this.nowMs - this.#electedMs >= 3_000
    ) {
      const change = this.#unfinished;
      this.#unfinished = undefined;
      this.#apply(change);
    }
    this.#land();
    if (this.leader === undefined || this.nowMs % 1_000 !== 0) return;
    const inputs = this.inputs();
    this.judge.saw(inputs, this.nowMs);
    const evaluation = this.evaluation = this.#pilot.evaluate(inputs, this.nowMs);
    const { change } = evaluation;
    if (change !== undefined) this.#take(change);
  }

  /** A leader that cannot reach a majority ends, and another one that can begins. */
  #elect(): void {
    const reaches = (id: number): boolean =>
      this.works(id) &&
      [this.voters, this.outgoing].every((half) =>
        half.length === 0 ||
        half.filter((one) => this.works(one)).length > Math.floor(half.length / 2)
      );
    if (this.leader !== undefined) {
      if (this.#isVoter(this.leader) && reaches(this.leader)) return;
      this.#lead(undefined);
      this.#electedMs = this.nowMs + this.random.between(1_000, 3_000);
      return;
    }
    if (this.nowMs < this.#electedMs) return;
    const able = this.voters.filter((id) => reaches(id));
    if (able.length > 0) this.#lead(this.random.pick(able));
  }

  #lead(leader: number | undefined): void {
    this.leader = leader;
    // What was proposed is there for the next leader to finish, or is lost.
    const flight = this.#flight;
    this.#flight = undefined;
    if (flight !== undefined) {
      const isKept = !flight.willFail && this.random.chance(0.5);
      if (isKept && this.outgoing.length > 0) this.#unfinished = flight.change;
      else if (isKept) this.#apply(flight.change);
      else if (this.outgoing.length > 0) {
        this.voters = this.outgoing;
        this.outgoing = [];
      }
    }
    this.#pilot.forget();
    this.judge.forget();
    if (leader === undefined) return;
    this.#electedMs = this.nowMs;
    for (const replica of this.replicas.values()) replica.heardMs = this.nowMs;
  }

  #isVoter(id: number): boolean {
    return this.voters.includes(id) || this.outgoing.includes(id);
  }

  #replicate(): void {
    for (const replica of this.replicas.values()) {
      if (replica.id === this.leader || this.works(replica.id)) replica.heardMs = this.nowMs;
      replica.inContact = this.nowMs - replica.heardMs < contactMs;
      if (replica.id === this.leader) replica.match = this.lastIndex;
      else if (this.works(replica.id) && this.nowMs >= replica.snapshotUntilMs) {
        const behind = this.lastIndex - replica.match;
        replica.match += Math.min(behind, 2_000);
        replica.match -= Math.min(replica.match, this.random.below(60));
      }
    }
  }

  #take(change: Change): void {
    this.judge.handedOut(change, this.#flight !== undefined);
    this.changes++;
    const willFail = this.random.chance(this.failure);
    this.#flight = {
      change,
      endsAtMs: this.nowMs + this.random.pick([0, 500, 500, 1_000, 3_000]),
      willFail,
    };
    // Jointly where more than one voter changes; the old majority counts until the end.
    if (change.kind === "voters" && !willFail) {
      const { promote, demote, remove } = change;
      if (promote.length + demote.length + remove.length > 1) {
        this.outgoing = this.voters;
        this.voters = this.#after(change);
      }
    }
  }

  #after({ promote, demote, remove }: Change & { kind: "voters" }): number[] {
    const out = [...demote, ...remove];
    return [...this.voters.filter((id) => !out.includes(id)), ...promote].sort((a, b) => a - b);
  }

  #land(): void {
    const flight = this.#flight;
    if (flight === undefined || this.nowMs < flight.endsAtMs) return;
    this.#flight = undefined;
    const { change, willFail } = flight;
    const before = this.leader;
    const done = !willFail && this.#apply(change);
    if (this.leader !== before) return;
    this.#pilot.ended(done ? { kind: "done" } : { kind: "failed", why: "so it is" }, this.nowMs);
  }

  /** Whether it took effect. */
  #apply(change: Change): boolean {
    switch (change.kind) {
      case "add_learner": {
        const node = this.nodes.find(({ nodeId }) => nodeId === change.nodeId);
        if (node === undefined || !node.isUp || node.replica !== 0) return false;
        this.#seat(node);
        return true;
      }
      case "transfer":
        if (!this.works(change.to)) return false;
        if (this.leader !== undefined) this.#lead(change.to);
        return true;
      case "voters":
        if (this.outgoing.length === 0) this.voters = this.#after(change);
        this.outgoing = [];
        for (const id of change.remove) {
          const node = this.node(id);
          // It could not take part again.
          if (node !== undefined && node.replica === id) node.replica = -1;
          this.replicas.delete(id);
        }
        return true;
    }
  }

  inputs(): Inputs {
    return {
      view: {
        epoch: 1,
        isDegraded: false,
        members: this.nodes.filter(({ inView }) => inView).map((node) => ({
          address: `tcp://${node.name}:7946`,
          nodeId: node.nodeId,
          incarnation: node.incarnation,
          name: node.name,
          isLeaf: node.isLeaf,
          zone: node.zone,
          isLeaving: node.isLeaving,
          standing: !node.isUp ? "unknown" : node.replica === 0 ? "vacant" : "taken",
        })),
      },
      departures: this.#departures,
      group: {
        self: this.leader!,
        lastIndex: this.lastIndex,
        committed: this.lastIndex - 40,
        hasHeard: this.nowMs - this.#electedMs >= contactMs,
        isBusy: this.outgoing.length > 0,
        replicas: [...this.replicas.values()].map((replica) => ({
          id: replica.id,
          nodeId: replica.nodeId,
          name: replica.name,
          address: `tcp://${replica.name}:7946`,
          isVoter: this.#isVoter(replica.id),
          match: replica.match,
          inContact: replica.inContact,
          inSnapshot: this.nowMs < replica.snapshotUntilMs,
          hasRoom: true,
        })),
      },
    };
  }
}
