/**
 * Requests from this node's users, until they are in the log or on their way to the leader: who
 * leads, who waits for that, and what may be tried again.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { type Barrier, Barriers } from "./barriers.ts";
import type { RaftNode } from "./core/node.ts";
import { proposalsPerSample } from "./counters.ts";
import type { ConfigurationChange } from "./core/types.ts";
import { ForwardedProposals, isSilent } from "./forward.ts";
import type { Forwarded, GroupHost, GroupOfAny, RequestOptions } from "./group_types.ts";
import { withLeader } from "./leader_detail.ts";
import { OwnProposal, type ProposalOwner } from "./own_proposal.ts";
import { encodeMachineData, machineDataOf, type Member } from "./members.ts";
import { noRoom } from "./no_room.ts";
import {
  changeRefused,
  noReadInTime,
  notProposed,
  outcomeUnknown,
  type Proposal,
  Proposals,
  replicaRemoved,
  tooLarge,
  tooLate,
  unsupported,
} from "./proposals.ts";

/** Who waits, and can be let go. */
interface Waiter {
  over: boolean;
  release?(): void;
  reject(error: CoveyError): void;
}

export class GroupRequests<Result> implements ProposalOwner<Result> {
  readonly #group: GroupOfAny;
  readonly #host: GroupHost;
  readonly proposals: Proposals<Result> = new Proposals<Result>();
  readonly barriers: Barriers = new Barriers();
  readonly #forwarded = new ForwardedProposals();
  /** Proposals that wait for a leader or for its answer. */
  #elsewhere = 0;

  constructor(group: GroupOfAny, host: GroupHost) {
    this.#group = group;
    this.#host = host;
  }

  /** Proposals that wait here. */
  get size(): number {
    return this.proposals.size + this.#elsewhere;
  }

  /** Nobody waits here for a proposal or a read. */
  get isIdle(): boolean {
    return this.size === 0 && this.barriers.size === 0;
  }

  /** A tick: ends those whose time is over. */
  tick(nowMs: number): void {
    this.proposals.expire(nowMs);
    const { hindrance } = this.#group;
    // The entries that they wait for do not come soon: another node may have them.
    if (hindrance !== undefined) this.barriers.failIndexed(() => this.#named(notHere(hindrance)));
    this.barriers.expire(nowMs, () => this.#named(noReadInTime()));
    const leads = this.#group.leads ? this.#host.nodeId : this.#group.leader?.nodeId;
    this.#forwarded.tick(leads, this.#group.electionTimeoutMs, this.#host);
  }

  /** A turn: what waits enters the leader's log, or goes back to who proposed it. */
  enter(node: RaftNode): void {
    while (this.proposals.hasQueued && this.#group.leads) {
      const { uncommittedBytesMax } = this.#host.options;
      const taken = this.proposals.take(Math.min(1 << 20, uncommittedBytesMax));
      if (taken.length === 0) continue;
      const result = node.propose(taken.map(({ data }) => data));
      if (result.kind === "appended") {
        this.proposals.placed(taken, result.index, result.term);
        continue;
      }
      // Overload and transfers pass; the deadline ends what does not.
      this.proposals.putBack(taken);
      return;
    }
    // Leadership was lost before they were in the log: their proposers look for the new leader.
    if (this.proposals.hasQueued && !this.#group.leads) {
      this.proposals.failQueued(() => notProposed("leadership was lost before it was proposed"));
    }
  }

  /** Proposes from any node; see the rejections of `KvGroup.propose`. */
  propose(data: Uint8Array, options: RequestOptions = {}): Promise<Result> {
    const { refusal: leaving } = this.#host.drain;
    if (leaving !== undefined) return Promise.reject(leaving);
    const encoded = encodeMachineData(data);
    const leads = this.#group.leads;
    if (options.leaderOnly === true) {
      return leads
        ? this.#proposeEncoded(encoded, options, this.deadline(options))
        : Promise.reject(notLeading());
    }
    const deadlineMs = this.deadline(options);
    if (leads) return this.#proposeEncoded(encoded, options, deadlineMs, true);
    const refusal = this.#tooLarge(encoded) ?? this.#tooMany();
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#proposeAtLeader(encoded, options, deadlineMs);
  }

  #named(error: unknown): CoveyError {
    return withLeader(error, this.#group.id, this.#group.leader);
  }

  async #proposeAtLeader(
    encoded: Uint8Array,
    options: RequestOptions,
    deadlineMs: number,
  ): Promise<Result> {
    this.#elsewhere++;
    try {
      for (;;) {
        const leader = await this.#waitForLeader(deadlineMs, options.signal);
        const left = { ...options, timeoutMs: deadlineMs - this.#host.clock.monotonicMs() };
        // From now on it waits there, and begins here anew if nothing came of that.
        if (leader === "self") {
          return this.#proposeEncoded(encoded, left, deadlineMs, true).catch((error: unknown) => {
            throw this.#named(error);
          });
        }
        try {
          const forwarded = await this.#forward(leader, encoded, left);
          if (forwarded.kind === "result") return this.#decodeResult(forwarded.bytes);
          if (!forwarded.retry) {
            throw new CoveyError(Code.resourceExhausted, forwarded.why, { sent: false });
          }
        } catch (error) {
          if (!isUnproposed(error) || this.#isOver) throw this.#named(error);
        }
        await this.#pause(deadlineMs, options.signal).catch((error: unknown) => {
          throw this.#named(error);
        });
      }
    } finally {
      this.#elsewhere--;
      // Everybody who waits looks then: not once for each of thousands.
      if (this.size === 0) this.#group.changed();
    }
  }

  async #forward(
    leader: Member,
    encoded: Uint8Array,
    options: RequestOptions,
  ): Promise<Forwarded> {
    const call = this.#forwarded.begin(leader.nodeId, options.signal);
    try {
      const left = { ...options, signal: call.signal };
      return await this.#host.forward(this.#group.id, leader, encoded, left);
    } catch (error) {
      if (!call.isStale || options.signal?.aborted) throw error;
      throw outcomeUnknown("another node leads now, and the one before does not answer");
    } finally {
      call.end();
    }
  }

  /** Proposes here or not at all: `unavailable`, not sent, when this node does not lead. */
  proposeHere(encoded: Uint8Array, options: RequestOptions): Promise<Result> {
    const leaving = this.#host.drain.refusal;
    if (leaving !== undefined) return Promise.reject(leaving);
    if (!this.#group.leads) {
      return Promise.reject(notProposed("this node does not lead"));
    }
    return this.#proposeEncoded(encoded, options, this.deadline(options));
  }

  barrier(options: RequestOptions = {}): Promise<void> {
    const stopped = this.#host.drain.refusal ?? this.#refusal(options.signal);
    if (stopped !== undefined) return Promise.reject(stopped);
    return new Promise((resolve, reject) => {
      const barrier: Barrier = { deadlineMs: this.deadline(options), resolve, reject, over: false };
      this.cancelBy(options.signal, barrier);
      this.barriers.add(barrier);
      this.#host.schedule(this.#group);
    });
  }

  async leaderChannel(options: RequestOptions = {}): Promise<"self" | Channel> {
    const leader = await this.#waitForLeader(this.deadline(options), options.signal);
    return leader === "self" ? "self" : this.#host.channelTo(leader);
  }

  /**
   * Proposes a change of the configuration and waits until it is applied here. Leaders only.
   * Rejects with `aborted` while another change is under way, `failed_precondition` when it does not
   * fit the configuration.
   */
  async change(
    node: RaftNode,
    change: ConfigurationChange,
    options: RequestOptions = {},
  ): Promise<void> {
    const refusal = this.#host.drain.refusal ?? this.#refusal(options.signal);
    if (refusal !== undefined) throw refusal;
    const result = node.changeConfiguration(change);
    if (result.kind === "dropped") throw changeRefused(result.reason);
    if (result.kind !== "appended") throw notProposed("this node does not lead");
    const deadlineMs = this.deadline(options);
    await new Promise<void>((resolve, reject) => {
      const proposal: Proposal<Result> = {
        data: noData,
        deadlineMs,
        resolve: () => resolve(),
        reject,
        over: false,
        index: 0,
        term: 0,
      };
      this.cancelBy(options.signal, proposal);
      this.proposals.track(proposal, result.index, result.term);
      this.#host.schedule(this.#group);
    });
  }

  /** A movable one is tried elsewhere when it turns out that nothing was proposed here. */
  #proposeEncoded(
    data: Uint8Array,
    options: RequestOptions,
    deadlineMs: number,
    isMovable = false,
  ): Promise<Result> {
    const refusal = this.#refusal(options.signal) ?? this.#tooLarge(data) ??
      this.#unsupported(data) ?? this.#overload();
    if (refusal !== undefined) return Promise.reject(refusal);
    const { clock, counters } = this.#host;
    const isMeasured = counters.proposals++ % proposalsPerSample === 0;
    const sinceMs = isMeasured ? clock.monotonicMs() : undefined;
    return new Promise((settle, settleFailed) => {
      const wait = { options, isMovable, sinceMs, settle, settleFailed };
      this.proposals.add(new OwnProposal(data, deadlineMs, wait, this));
      this.#host.scheduleLazily(this.#group);
    });
  }

  /** For the proposals. */
  committed({ wait: { sinceMs } }: OwnProposal<Result>): void {
    if (sinceMs === undefined) return;
    const { clock, counters } = this.#host;
    counters.onCommit?.((clock.monotonicMs() - sinceMs) / 1000);
  }

  /** For the proposals. */
  failed({ data, deadlineMs, wait }: OwnProposal<Result>, error: CoveyError): void {
    const { options, settle, settleFailed } = wait;
    const again = isUnproposed(error) && !this.#isOver;
    if (wait.isMovable && again) {
      settle(this.#proposeAtLeader(data, options, deadlineMs));
      return;
    }
    this.#host.counters.proposalsFailed++;
    if (error.code === Code.deadlineExceeded) error = this.#withRoom(error);
    settleFailed(options.leaderOnly === true && again ? notLeading() : error);
  }

  /** Disks that became full while it waited are the reason. */
  #withRoom(error: CoveyError): CoveyError {
    const why = this.#group.roomProblem;
    if (why === undefined) return error;
    const { code, rawMessage, sent, details } = error;
    return new CoveyError(code, `${rawMessage}: ${why}`, { sent, details, cause: error });
  }

  #overload(): CoveyError | undefined {
    const { log, options } = this.#host;
    if (log.space === "low") {
      this.#host.counters.proposalsRefusedForSpace++;
      return new CoveyError(
        Code.resourceExhausted,
        `${noRoom(log.freeBytes, options.lowWaterBytes)}; reads go on`,
        { sent: false },
      );
    }
    const others = this.#group.roomProblem;
    if (others !== undefined) {
      this.#host.counters.proposalsRefusedForSpace++;
      return new CoveyError(Code.resourceExhausted, others, { sent: false });
    }
    return this.#tooMany();
  }

  #tooLarge(data: Uint8Array): CoveyError | undefined {
    const { commandBytesMax } = this.#host.options;
    return data.length > commandBytesMax ? tooLarge(data.length, commandBytesMax) : undefined;
  }

  /** In the log it would stop this replica, and every other one of this build. */
  #unsupported(encoded: Uint8Array): CoveyError | undefined {
    const { machine } = this.#group;
    if (machine.supports === undefined) return undefined;
    const data = machineDataOf(encoded);
    if (data === undefined || data.length === 0) return undefined;
    try {
      return machine.supports(data) ? undefined : unsupported();
    } catch (cause) {
      const why = `the machine failed: ${CoveyError.from(cause).rawMessage}`;
      return new CoveyError(Code.internal, why, { cause, sent: false });
    }
  }

  #tooMany(): CoveyError | undefined {
    if (this.size < this.#host.options.proposalsMax) return undefined;
    this.#host.counters.proposalsRefused++;
    return new CoveyError(
      Code.resourceExhausted,
      "too many proposals wait (raft.proposals_max): send fewer at a time",
      { sent: false },
    );
  }

  /** Nothing is asked of the group from here any more. */
  get #isOver(): boolean {
    return this.#group.stopped !== undefined || this.#group.isRemoved;
  }

  #refusal(signal: AbortSignal | undefined): CoveyError | undefined {
    if (this.#group.stopped !== undefined) return this.#group.stopped;
    if (this.#group.isRemoved) return replicaRemoved(this.#group.name);
    return signal?.aborted ? canceled() : undefined;
  }

  cancelBy(signal: AbortSignal | undefined, waiter: Waiter): void {
    if (signal === undefined) return;
    const cancel = (): void => {
      if (waiter.over) return;
      waiter.over = true;
      waiter.reject(canceled());
      if (this.size === 0) this.#group.changed();
    };
    signal.addEventListener("abort", cancel, { once: true });
    waiter.release = () => signal.removeEventListener("abort", cancel);
  }

  deadline(options: RequestOptions): number {
    const timeoutMs = options.timeoutMs ?? this.#host.options.requestMs;
    return this.#host.clock.monotonicMs() + timeoutMs;
  }

  async #waitForLeader(
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<"self" | Member> {
    for (;;) {
      const refusal = this.#refusal(signal);
      if (refusal !== undefined) throw refusal;
      const leader = this.#leaderThere();
      if (leader !== undefined) return leader;
      const leftMs = deadlineMs - this.#host.clock.monotonicMs();
      if (leftMs <= 0) throw tooLate(false);
      // Thousands may wait: they are looked at together, and none has to look by itself.
      const isOver = (): boolean => this.#isOver || this.#leaderThere() !== undefined;
      await this.#group.when(isOver, leftMs, signal);
    }
  }

  /** Who leads and can be asked. */
  #leaderThere(): "self" | Member | undefined {
    if (this.#group.leads) return "self";
    const { leader } = this.#group;
    const isThere = leader !== undefined && leader.address !== "" &&
      !isSilent(this.#host, leader.nodeId, this.#group.electionTimeoutMs);
    return isThere ? leader : undefined;
  }

  /** Until the leader changes, or a moment has passed; rejects when the time is over. */
  async #pause(deadlineMs: number, signal: AbortSignal | undefined): Promise<void> {
    const leftMs = deadlineMs - this.#host.clock.monotonicMs();
    if (leftMs <= 0) throw tooLate(false);
    if (signal?.aborted) throw canceled();
    await this.#group.leaderChanged(Math.min(leftMs, this.#host.options.heartbeatMs), signal);
    if (signal?.aborted) throw canceled();
  }

  #decodeResult(bytes: Uint8Array): Result {
    const result = this.#group.machine.decodeResult(bytes);
    if (result !== undefined) return result;
    throw outcomeUnknown("the leader is of a newer version, and its answer cannot be read");
  }
}

/** It certainly did not happen, and may be tried again. */
function isUnproposed(error: unknown): boolean {
  return error instanceof CoveyError && error.code === Code.unavailable && error.sent === false;
}

/** Only this replica lacks what is to be read. */
function notHere(why: string): CoveyError {
  return new CoveyError(Code.unavailable, why, { sent: false });
}

function notLeading(): CoveyError {
  return new CoveyError(Code.failedPrecondition, "this node does not lead", { sent: false });
}

function canceled(): CoveyError {
  return new CoveyError(Code.canceled, "the request was canceled");
}

const noData = new Uint8Array(0);
