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
import {
  ChangeType,
  type Configuration,
  noReplica,
  type ReplicaId,
  Transition,
} from "./core/types.ts";
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
  transferProblem,
  willLead,
} from "./operator_checks.ts";
import type { RaftHost } from "./host.ts";
import { encodeContext, type Member, toWire } from "./members.ts";
import { bestSuccessor } from "./successor.ts";

/** Says that a call was passed on already. */
const forwardedKey = "covey-forwarded";
/** How long a question that can be answered without the leader waits for it. */
const leaderlessMs = 1_000;
/** For an addition that came without a deadline. */
const addMs = 60_000;
/** How often a transfer is begun, each time for an election timeout. */
const attemptsMax = 3;

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
            await this.#promote(group, readReplica(request.replica), context);
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
          here: (group) => this.#transfer(group, readReplica(request.replica), context),
          there: (client, options) => client.transfer(request, options),
        }),
      snapshot: async (request) => {
        const { meta, bytes } = await this.#group(request.group).takeSnapshot();
        return { index: BigInt(meta.index), term: BigInt(meta.term), bytes: BigInt(bytes) };
      },
      status: () => this.#status(),
      createGroup: (request, context) =>
        this.#atLeader<MessageInitShape<typeof GroupSchema>>(rootGroup, context, {
          here: (group) => createGroup(group, request, optionsOf(context)),
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
    const isForwarded = context.metadata.get(forwardedKey) !== undefined;
    // What is known without the leader is better than waiting long for it.
    const limitMs = Math.min(leaderlessMs, (context.timeoutMs ?? Infinity) / 2);
    if (group.stopped !== undefined) {
      // What it knows of the group is of the past; who took part in it may know more.
      if (isForwarded || run.otherwise === undefined) throw group.stopped;
      return await this.#atAnyMember(
        group,
        (client) => run.there(client, { metadata: { [forwardedKey]: "1" }, timeoutMs: limitMs }),
      );
    }
    if (group.role === Role.leader) return await run.here(group);
    if (isForwarded) throw notLeader(group);
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

  /** Asks the nodes of all others at once: the leader's answers. Rejects with the group's end. */
  async #atAnyMember<T>(
    group: GroupOfAny,
    ask: (client: Client<typeof Raft>) => Promise<T>,
  ): Promise<T> {
    const host = this.#host;
    const others = group.members.all.filter(({ nodeId }) => nodeId !== host.nodeId);
    try {
      return await Promise.any(others.map(async ({ address }) => {
        using channel = host.channel(address);
        return await ask(createClient(Raft, channel));
      }));
    } catch (error) {
      const bug = (error as AggregateError).errors.find((one) => !(one instanceof CoveyError));
      // None of them leads, or can be reached: why nothing is known here says what to do.
      throw bug ?? group.stopped;
    }
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
      await judged(group, context, () => undefined);
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
    const isThere = (): boolean => hasCaughtUp(group.status(), member.replica);
    const leftMs = deadlineMs - this.#clock.monotonicMs();
    await group.when(() => !group.leads || isThere(), leftMs, signal);
    if (group.stopped !== undefined) throw group.stopped;
    if (!group.leads) throw notLeader(group);
    if (isThere()) return;
    throw new CoveyError(
      Code.deadlineExceeded,
      `node ${member.name} is learner ${member.replica} and has not caught up yet: "covey raft ` +
        `promote ${member.replica}" makes it a voter once it has`,
    );
  }

  async #promote(group: GroupOfAny, replica: number, context: CallContext): Promise<void> {
    checkPromotion(group, replica);
    await judged(group, context, (status) => promotionProblem(status, replica));
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
    const replica = readReplica(request.replica);
    checkRemoval(group, replica);
    await judged(group, context, (status) => removalProblem(status, replica));
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
    const host = this.#host;
    const deadlineMs = this.#clock.monotonicMs() + (context.timeoutMs ?? addMs);
    if (wanted === 0) await judged(group, context, () => successionProblem(host, group));
    const target = wanted === 0 ? bestSuccessor(host, group)! : wanted;
    await willLead(host, group, target, context);
    const isTaken = (): boolean => group.leader?.replica === target;
    for (let attempt = 1;; attempt++) {
      const result = group.transfer(target);
      if (result.kind === "refused") {
        throw new CoveyError(
          Code.failedPrecondition,
          `replica ${target} cannot lead: ${
            result.reason === "notAVoter" ? "it is no voter" : "there is no leader"
          }`,
        );
      }
      await group.when(
        () => {
          if (group.leads) return isTaken() || group.status().transferee === noReplica;
          return isTaken() ||
            (group.leader !== undefined && group.leader.replica !== group.replica);
        },
        deadlineMs - this.#clock.monotonicMs(),
        context.signal,
      );
      if (isTaken()) return { leader: BigInt(target) };
      if (group.stopped !== undefined) throw group.stopped;
      const isLate = this.#clock.monotonicMs() >= deadlineMs || context.signal.aborted;
      const problem = transferProblem(host, group, target);
      // It may have been busy for a moment; each attempt holds up the writes for as long.
      if (problem === undefined && !isLate && attempt < attemptsMax) continue;
      throw new CoveyError(
        Code.aborted,
        `replica ${target} did not take over in time: ${problem ?? "it was not elected"}; the ` +
          `leader is ${
            group.leader === undefined ? "not known" : `replica ${group.leader.replica}`
          }`,
      );
    }
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

/** Rounded to a number it might be another one. */
function readReplica(replica: bigint): ReplicaId {
  if (replica <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(replica);
  throw new CoveyError(
    Code.invalidArgument,
    `replica ${replica} is above 2^53 - 1; the peers of the group say which there are`,
  );
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
