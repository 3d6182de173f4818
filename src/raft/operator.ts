/**
 * What operators ask (raft.proto, service Raft). Changes are made by the leader of the group; a node
 * that does not lead passes the call on, once.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Clock } from "../runtime/port.ts";
import {
  type AddRequest,
  type AddResponseSchema,
  type GroupSchema,
  type PeersResponseSchema,
  Raft,
  type RemoveRequest,
  Role as WireRole,
  Suffrage,
} from "../gen/covey/raft/v1/raft_pb.ts";
import { Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { createClient } from "../ttrpc/client.ts";
import type { CallContext, Client, Handlers } from "../ttrpc/service.ts";
import { type Cluster, rootGroup } from "./cluster.ts";
import { Role } from "./core/ready.ts";
import type { Status } from "./core/status.ts";
import { ChangeType, type Configuration, Transition } from "./core/types.ts";
import type { GroupOfAny, RequestOptions } from "./group_types.ts";
import { createGroup, removeGroup, wireGroup } from "./group_placement.ts";
import {
  additionProblem,
  checkPromotion,
  checkRemoval,
  hasCaughtUp,
  judged,
  notLeader,
  promotionProblem,
  removalProblem,
  successionProblem,
} from "./operator_checks.ts";
import type { RaftHost } from "./host.ts";
import { encodeContext, type Member, toWire } from "./members.ts";
import { bestSuccessor } from "./successor.ts";

/** Says that a call was passed on already. */
const forwardedKey = "covey-forwarded";
/** How often a new learner is looked at. */
const lookMs = 100;
/** How long a question that can be answered without the leader waits for it. */
const leaderlessMs = 1_000;
/** For an addition that came without a deadline. */
const addMs = 60_000;

type PeersInit = MessageInitShape<typeof PeersResponseSchema>;
type PeerInit = NonNullable<PeersInit["peers"]>[number];

const wireRoles: Readonly<Record<Role, WireRole>> = {
  [Role.follower]: WireRole.FOLLOWER,
  [Role.preCandidate]: WireRole.PRE_CANDIDATE,
  [Role.candidate]: WireRole.CANDIDATE,
  [Role.leader]: WireRole.LEADER,
};

export class Operator {
  readonly #cluster: Cluster;
  readonly #clock: Clock;

  constructor(cluster: Cluster, clock: Clock) {
    this.#cluster = cluster;
    this.#clock = clock;
  }

  handlers(): Handlers<typeof Raft> {
    return {
      peers: (request, context) =>
        this.#atLeader(request.group, context, {
          here: (group) => this.#peers(group),
          there: (client, options) => client.peers(request, options),
          // Without a leader, what this node knows is better than nothing.
          otherwise: (group) => this.#peers(group),
        }),
      add: (request, context) =>
        this.#atLeader<MessageInitShape<typeof AddResponseSchema>>(request.group, context, {
          here: async (group) => ({ peer: await this.#add(group, request, context) }),
          there: (client, options) => client.add(request, options),
        }),
      promote: (request, context) =>
        this.#atLeader(request.group, context, {
          here: async (group) => {
            await this.#promote(group, Number(request.replica), context);
            return {};
          },
          there: (client, options) => client.promote(request, options),
        }),
      remove: (request, context) =>
        this.#atLeader(request.group, context, {
          here: (group) => this.#remove(group, request, context),
          there: (client, options) => client.remove(request, options),
        }),
      transfer: (request, context) =>
        this.#atLeader(request.group, context, {
          here: (group) => this.#transfer(group, Number(request.replica), context),
          there: (client, options) => client.transfer(request, options),
        }),
      snapshot: async (request) => {
        const { meta, bytes } = await this.#group(request.group).takeSnapshot();
        return { index: BigInt(meta.index), term: BigInt(meta.term), bytes: BigInt(bytes) };
      },
      status: () => this.#status(),
      createGroup: (request, context) =>
        this.#atLeader<MessageInitShape<typeof GroupSchema>>(rootGroup, context, {
          here: (group) => createGroup(group, this.#clock, request, optionsOf(context)),
          there: (client, options) => client.createGroup(request, options),
        }),
      removeGroup: (request, context) =>
        this.#atLeader(rootGroup, context, {
          here: async (group) => {
            await removeGroup(group, request.name, optionsOf(context));
            return {};
          },
          there: (client, options) => client.removeGroup(request, options),
        }),
      groups: async (_request, context) => {
        const root = this.#group(rootGroup);
        await root.barrier(optionsOf(context));
        return { groups: root.members.groups.map(wireGroup) };
      },
    };
  }

  get #host(): RaftHost {
    const { host, problem } = this.#cluster;
    if (host !== undefined) return host;
    throw new CoveyError(Code.unavailable, `this node is part of no cluster yet: ${problem}`);
  }

  #group(id: number): GroupOfAny {
    const group = this.#host.group(id);
    if (group !== undefined) return group;
    throw new CoveyError(Code.notFound, `this node has no replica of group ${id}`);
  }

  /** Runs a request where the group's leader is. */
  async #atLeader<T>(id: number, context: CallContext, run: {
    here(group: GroupOfAny): T | Promise<T>;
    there(
      client: Client<typeof Raft>,
      options: { metadata: Record<string, string>; timeoutMs?: number },
    ): Promise<T>;
    otherwise?(group: GroupOfAny): T;
  }): Promise<T> {
    const group = this.#group(id);
    // What it knows of the group is of the past.
    if (group.stopped !== undefined) throw group.stopped;
    if (group.role === Role.leader) return await run.here(group);
    if (context.metadata.get(forwardedKey) !== undefined) throw notLeader(group);
    // What is known without the leader is better than waiting long for it.
    const limitMs = Math.min(leaderlessMs, (context.timeoutMs ?? Infinity) / 2);
    const options = run.otherwise === undefined
      ? optionsOf(context)
      : { ...optionsOf(context), timeoutMs: limitMs };
    try {
      const channel = await group.leaderChannel(options);
      if (channel !== "self") {
        return await run.there(createClient(Raft, channel), {
          metadata: { [forwardedKey]: "1" },
          timeoutMs: options.timeoutMs,
        });
      }
    } catch (error) {
      if (run.otherwise !== undefined) return run.otherwise(group);
      throw error;
    }
    return await run.here(group);
  }

  // -------------------------------------------------------------------------------------------

  #peers(group: GroupOfAny): PeersInit {
    const status = group.status();
    return {
      peers: group.members.all.map((member) => this.#peer(status, member)),
      leader: BigInt(status.leader),
      term: BigInt(status.term),
      clusterId: this.#host.clusterId,
    };
  }

  #peer(status: Status, member: Member): PeerInit {
    const progress = status.members.find(({ id }) => id === member.replica);
    const trip = this.#host.peer(member.nodeId)?.roundTripMs;
    return {
      ...toWire(member),
      suffrage: suffrageOf(status.configuration, member.replica),
      leader: status.leader === member.replica,
      matchIndex: BigInt(progress?.match ?? 0),
      active: status.leader === member.replica || (progress?.recentActive ?? false),
      progress: progress?.state ?? "",
      roundTripMillis: trip?.samples === 0 ? 0 : trip?.mean ?? 0,
    };
  }

  /**
   * The replica id is given out by the log first, then the node is told. A call that broke off in
   * between is made good by the next one for the same node.
   */
  async #add(group: GroupOfAny, request: AddRequest, context: CallContext): Promise<PeerInit> {
    const { address } = request;
    const host = this.#host;
    const deadlineMs = this.#clock.monotonicMs() + (context.timeoutMs ?? addMs);
    using channel = host.channel(address);
    const joiner = createClient(Transport, channel);
    const { self, clusterId } = await joiner.identify({}, {
      timeoutMs: context.timeoutMs ?? addMs,
    });
    if (self === undefined) {
      throw new CoveyError(Code.failedPrecondition, `${address} did not say who it is`);
    }
    if (request.nodeId !== "" && request.nodeId !== self.nodeId) {
      throw new CoveyError(
        Code.failedPrecondition,
        `node ${self.nodeId} (${self.name}) answers at ${address}, not ${request.nodeId}`,
      );
    }
    if (clusterId !== "" && clusterId !== host.clusterId) {
      throw new CoveyError(
        Code.failedPrecondition,
        `node ${self.name} at ${address} belongs to cluster ${clusterId}: stop it and give it an ` +
          "empty data directory, with cluster.join naming a member of this one",
      );
    }
    let member = group.members.ofNode(self.nodeId);
    const problem = additionProblem(group, self.name, { member, isInCluster: clusterId !== "" });
    if (problem !== undefined) throw problem;
    if (member !== undefined && clusterId === host.clusterId && request.learner) {
      throw new CoveyError(
        Code.alreadyExists,
        `node ${self.name} is replica ${member.replica} already`,
      );
    }
    if (member === undefined) {
      await judged(group, this.#clock, context, () => undefined);
      // Another call for the same node may have waited beside this one.
      member = group.members.ofNode(self.nodeId);
    }
    if (member === undefined) {
      const replica = group.members.nextReplica;
      member = { replica, nodeId: self.nodeId, name: self.name, address: self.address || address };
      await group.change({
        transition: Transition.auto,
        changes: [{ type: ChangeType.addLearner, replica }],
        context: encodeContext([member]),
      }, optionsOf(context));
    }
    if (clusterId === "" || group.id !== rootGroup) {
      await joiner.invite({
        clusterId: host.clusterId,
        group: group.id,
        replica: BigInt(member.replica),
        nodeId: member.nodeId,
        members: group.members.all.map(toWire),
      }, { timeoutMs: context.timeoutMs });
    }
    const { configuration } = group.status();
    if (!request.learner && !configuration.voters.includes(member.replica)) {
      await this.#whenCaughtUp(group, member, deadlineMs, context.signal);
      await this.#promote(group, member.replica, context);
    }
    return this.#peer(group.status(), member);
  }

  async #whenCaughtUp(
    group: GroupOfAny,
    member: Member,
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    for (;;) {
      const status = group.status();
      if (status.role !== Role.leader) throw notLeader(group);
      const progress = status.members.find(({ id }) => id === member.replica);
      if (progress !== undefined && hasCaughtUp(status, progress)) return;
      if (signal.aborted || this.#clock.monotonicMs() >= deadlineMs) {
        throw new CoveyError(
          Code.deadlineExceeded,
          `node ${member.name} is learner ${member.replica} and has not caught up yet: "covey raft ` +
            `promote ${member.replica}" makes it a voter once it has`,
        );
      }
      await new Promise<void>((resolve) => this.#clock.timer(lookMs, () => resolve(), undefined));
    }
  }

  async #promote(group: GroupOfAny, replica: number, context: CallContext): Promise<void> {
    checkPromotion(group, replica);
    await judged(group, this.#clock, context, (status) => promotionProblem(status, replica));
    await group.change({
      transition: Transition.auto,
      changes: [{ type: ChangeType.addVoter, replica }],
      context: noBytes,
    }, optionsOf(context));
  }

  /**
   * Takes a replica out, if the group can go on without it. A leader that is to go hands over first,
   * and the next one takes it out: otherwise the others would wait for an election.
   */
  async #remove(
    group: GroupOfAny,
    request: RemoveRequest,
    context: CallContext,
  ): Promise<Record<never, never>> {
    const replica = Number(request.replica);
    checkRemoval(group, replica);
    await judged(group, this.#clock, context, (status) => removalProblem(status, replica));
    if (replica === group.replica && group.status().configuration.voters.length > 1) {
      await this.#transfer(group, 0, context);
      const channel = await group.leaderChannel(optionsOf(context));
      if (channel !== "self") {
        return await createClient(Raft, channel).remove(request, {
          metadata: { [forwardedKey]: "1" },
          timeoutMs: context.timeoutMs,
        });
      }
    }
    await group.change({
      transition: Transition.auto,
      changes: [{ type: ChangeType.remove, replica }],
      context: noBytes,
    }, optionsOf(context));
    return {};
  }

  async #transfer(
    group: GroupOfAny,
    wanted: number,
    context: CallContext,
  ): Promise<{ leader: bigint }> {
    if (wanted === 0) {
      await judged(group, this.#clock, context, (status) => successionProblem(status));
    }
    const status = group.status();
    const target = wanted === 0 ? bestSuccessor(status)! : wanted;
    const deadlineMs = this.#clock.monotonicMs() + (context.timeoutMs ?? addMs);
    const result = group.transfer(target);
    if (result.kind === "refused") {
      throw new CoveyError(
        Code.failedPrecondition,
        `replica ${target} cannot lead: ${
          result.reason === "notAVoter" ? "it is no voter" : "there is no leader"
        }`,
      );
    }
    while (group.leader?.replica !== target) {
      const { transferee, role } = group.status();
      const leftMs = deadlineMs - this.#clock.monotonicMs();
      const isOver = role === Role.leader
        ? transferee === 0
        : group.leader !== undefined && group.leader.replica !== status.id;
      if (leftMs <= 0 || context.signal.aborted || isOver) {
        throw new CoveyError(
          Code.aborted,
          `replica ${target} did not take over in time; the leader is ` +
            (group.leader === undefined ? "not known" : `replica ${group.leader.replica}`),
        );
      }
      await group.leaderChanged(Math.min(leftMs, lookMs));
    }
    return { leader: BigInt(target) };
  }

  #status(): MessageInitShape<
    typeof import("../gen/covey/raft/v1/raft_pb.ts").StatusResponseSchema
  > {
    const { record, host } = this.#cluster;
    if (host === undefined) return { clusterId: "", nodeId: "", groups: [] };
    const { log } = host;
    return {
      clusterId: record?.clusterId ?? "",
      nodeId: host.nodeId,
      groups: host.groups.map((group) => groupStatus(group)),
      log: {
        oldestSegment: BigInt(log.segments.oldest),
        newestSegment: BigInt(log.segments.newest),
        batches: BigInt(log.written.batches),
        bytesWritten: BigInt(log.written.bytes),
        lowSpace: log.space === "low",
      },
    };
  }
}

function groupStatus(
  group: GroupOfAny,
): MessageInitShape<typeof import("../gen/covey/raft/v1/raft_pb.ts").GroupStatusSchema> {
  const status = group.status();
  const { configuration } = status;
  return {
    group: group.id,
    name: group.name,
    replica: BigInt(group.replica),
    role: wireRoles[status.role],
    term: BigInt(status.term),
    leader: BigInt(status.leader),
    firstIndex: BigInt(status.firstIndex),
    lastIndex: BigInt(status.lastIndex),
    stableIndex: BigInt(status.stableIndex),
    commitIndex: BigInt(status.committed),
    appliedIndex: BigInt(status.applied),
    snapshotIndex: BigInt(status.snapshotIndex),
    uncommittedBytes: BigInt(status.uncommittedBytes),
    proposalsPending: BigInt(group.pending.proposals),
    readsPending: BigInt(group.pending.reads),
    electionTimeoutMillis: BigInt(Math.round(group.electionTimeoutMs)),
    voters: configuration.voters.map(BigInt),
    votersOutgoing: configuration.votersOutgoing.map(BigInt),
    learners: configuration.learners.map(BigInt),
    learnersNext: configuration.learnersNext.map(BigInt),
    stopped: group.stopped?.rawMessage ?? "",
  };
}

function suffrageOf(configuration: Configuration, replica: number): Suffrage {
  if (configuration.voters.includes(replica)) return Suffrage.VOTER;
  if (configuration.learners.includes(replica)) return Suffrage.LEARNER;
  if (configuration.learnersNext.includes(replica)) return Suffrage.LEARNER_NEXT;
  return configuration.votersOutgoing.includes(replica) ? Suffrage.OUTGOING : Suffrage.UNSPECIFIED;
}

function optionsOf(context: CallContext): RequestOptions {
  return { timeoutMs: context.timeoutMs, signal: context.signal };
}

const noBytes = new Uint8Array(0);
