/**
 * A cluster as a test wants it, seen from its leader: what is in the view and what is in contact is
 * set by hand, changes take effect at once.
 */
import { Pilot } from "../../../src/autopilot/core/pilot.ts";
import {
  type Change,
  defaultPolicy,
  type Departure,
  type Evaluation,
  type Inputs,
  type MemberReport,
  type Outcome,
  type Policy,
  type Standing,
} from "../../../src/autopilot/core/types.ts";

export interface SceneNode {
  readonly name: string;
  nodeId: string;
  address: string;
  incarnation: bigint;
  zone: string;
  isLeaf: boolean;
  inView: boolean;
  departure: Departure | undefined;
  standing: Standing;
  isLeaving: boolean;
}

export interface SceneReplica {
  readonly id: number;
  readonly node: SceneNode;
  /** As it was when the replica was made: a node may get another one. */
  readonly nodeId: string;
  isVoter: boolean;
  match: number;
  inContact: boolean;
  inSnapshot: boolean;
  hasRoom: boolean;
}

export interface SceneOptions {
  readonly voters: readonly string[];
  readonly learners?: readonly string[];
  readonly newcomers?: readonly string[];
  /** By name. */
  readonly zones?: Readonly<Record<string, string>>;
  readonly policy?: Partial<Policy>;
}

const everyMs = 1_000;

export class Scene {
  readonly nodes = new Map<string, SceneNode>();
  replicas: SceneReplica[] = [];
  nowMs = 0;
  leader: string;
  hasHeard = true;
  isBusy = false;
  isDegraded = false;
  lastIndex = 1_000;
  committed = 1_000;
  /** What the next changes come to, instead of taking effect. */
  failure: string | undefined = undefined;
  /** Whether changes are left in flight. */
  leavesInFlight = false;
  pilot: Pilot;
  readonly policy: Policy;
  /** In plain words, such as `promote d, demote c`. */
  readonly changes: string[] = [];
  last: Evaluation | undefined = undefined;
  #nextReplica = 1;

  constructor({ voters, learners = [], newcomers = [], zones = {}, policy = {} }: SceneOptions) {
    this.policy = { ...defaultPolicy, ...policy };
    this.pilot = new Pilot(this.policy);
    this.leader = voters[0];
    for (const name of voters) this.seat(this.join(name, zones[name]), true);
    for (const name of learners) this.seat(this.join(name, zones[name]), false);
    for (const name of newcomers) this.join(name, zones[name]);
  }

  join(name: string, zone = ""): SceneNode {
    const node: SceneNode = {
      name,
      nodeId: `id-${name}`,
      address: `tcp://${name}:7946`,
      incarnation: 1n,
      zone,
      isLeaf: false,
      inView: true,
      departure: undefined,
      standing: "vacant",
      isLeaving: false,
    };
    this.nodes.set(name, node);
    return node;
  }

  seat(node: SceneNode, isVoter: boolean): SceneReplica {
    const replica = {
      id: this.#nextReplica++,
      node,
      nodeId: node.nodeId,
      isVoter,
      match: this.lastIndex,
      inContact: true,
      inSnapshot: false,
      hasRoom: true,
    };
    node.standing = "taken";
    this.replicas.push(replica);
    return replica;
  }

  node(name: string): SceneNode {
    return this.nodes.get(name)!;
  }

  replica(name: string): SceneReplica {
    return this.replicas.find(({ node }) => node.name === name)!;
  }

  /** Neither seen nor heard. */
  crash(name: string): void {
    this.node(name).inView = false;
    this.replica(name).inContact = false;
  }

  /** Back, with what it had. */
  restart(name: string): void {
    const node = this.node(name);
    node.inView = true;
    node.departure = undefined;
    node.incarnation++;
    this.replica(name).inContact = true;
  }

  /** Back under the same node id, without its log. */
  loseLog(name: string): void {
    const node = this.node(name);
    node.inView = true;
    node.incarnation++;
    node.standing = "vacant";
    this.replica(name).inContact = false;
  }

  /** Back with an empty data directory: another node id at the same place. */
  loseDirectory(name: string): void {
    this.loseLog(name);
    this.node(name).nodeId = `${this.node(name).nodeId}-anew`;
  }

  leave(name: string, departure: Departure = "left"): void {
    this.node(name).inView = false;
    this.node(name).departure = departure;
  }

  get voters(): string {
    return this.#names(true);
  }

  get learners(): string {
    return this.#names(false);
  }

  inputs(): Inputs {
    const nodes = [...this.nodes.values()];
    return {
      view: {
        epoch: 1,
        isDegraded: this.isDegraded,
        members: nodes.filter(({ inView }) => inView).map((node) => ({ ...node })),
      },
      departures: new Map(
        nodes.flatMap(({ nodeId, departure }) =>
          departure === undefined ? [] : [[nodeId, departure]]
        ),
      ),
      group: {
        self: this.replica(this.leader).id,
        lastIndex: this.lastIndex,
        committed: this.committed,
        hasHeard: this.hasHeard,
        isBusy: this.isBusy,
        replicas: this.replicas.map(({ node, nodeId, ...replica }) => ({
          ...replica,
          nodeId,
          name: node.name,
          address: node.address,
        })),
      },
    };
  }

  /** One evaluation, and what comes of it. */
  evaluate(): Evaluation {
    const evaluation = this.pilot.evaluate(this.inputs(), this.nowMs);
    this.last = evaluation;
    const { change, mode } = evaluation;
    if (change === undefined) return evaluation;
    this.changes.push(this.words(change));
    if (mode === "on" && !this.leavesInFlight) this.end(change);
    return evaluation;
  }

  end(change: Change): void {
    const outcome: Outcome = this.failure === undefined
      ? { kind: "done" }
      : { kind: "failed", why: this.failure };
    const isTransfer = change.kind === "transfer";
    if (outcome.kind === "done") this.#apply(change);
    if (isTransfer && outcome.kind === "done") this.pilot.forget();
    else this.pilot.ended(outcome, this.nowMs);
  }

  /** Evaluates once a second, from the next second on; the changes of this time. */
  run(ms: number): string[] {
    const from = this.changes.length;
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs;) {
      this.nowMs = Math.min(this.nowMs + everyMs, untilMs);
      this.evaluate();
    }
    return this.changes.slice(from);
  }

  /** Begins to look, with everything as it is. */
  begin(): this {
    this.evaluate();
    return this;
  }

  report(name: string): MemberReport {
    return this.pilot.report().find((member) => member.name === name)!;
  }

  words(change: Change): string {
    if (change.kind === "add_learner") return `add ${change.name}`;
    const name = (id: number): string =>
      this.replicas.find((replica) => replica.id === id)!.node.name;
    if (change.kind === "transfer") return `transfer to ${name(change.to)}`;
    const part = (verb: string, ids: readonly number[]): string[] =>
      ids.length === 0 ? [] : [`${verb} ${ids.map(name).join(" ")}`];
    return [
      ...part("promote", change.promote),
      ...part("demote", change.demote),
      ...part("remove", change.remove),
    ].join(", ");
  }

  #apply(change: Change): void {
    switch (change.kind) {
      case "add_learner":
        this.seat([...this.nodes.values()].find(({ nodeId }) => nodeId === change.nodeId)!, false);
        return;
      case "transfer":
        this.leader = this.replicas.find(({ id }) => id === change.to)!.node.name;
        return;
      case "voters":
        for (const replica of this.replicas) {
          if (change.promote.includes(replica.id)) replica.isVoter = true;
          if (change.demote.includes(replica.id)) replica.isVoter = false;
        }
        this.replicas = this.replicas.filter(({ id }) => !change.remove.includes(id));
    }
  }

  #names(isVoter: boolean): string {
    return this.replicas.filter((replica) => replica.isVoter === isVoter)
      .map(({ node }) => node.name).join(" ");
  }
}
