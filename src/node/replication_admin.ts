/**
 * What the admin endpoint is told of consensus and the key-value store: what they say about
 * themselves, why they are not ready, and what happens to them as events.
 *
 * Events are rare ones only. While nobody follows them, nothing is made of what happens.
 */
import type { ReadinessCheck } from "../admin/parts.ts";
import type { JsonObject } from "../base/log_json.ts";
import { decodeCommand } from "../kv/core/command_codec.ts";
import type { MachineEntry } from "../base/machine.ts";
import type { KvResult } from "../kv/core/result.ts";
import type { KvModule } from "../kv/kv_module.ts";
import type { Cluster } from "../raft/cluster.ts";
import type { SnapshotMeta } from "../raft/core/types.ts";
import type { GroupObserver, GroupOfAny } from "../raft/group_types.ts";

/** Where events go: a topic of the admin endpoint. */
export interface EventTopic {
  /** Whether anybody would be told. */
  readonly wanted: boolean;
  publish(data: JsonObject): void;
}

/** Opens a topic under a name, with a line for people. */
export type OpenTopic = (name: string, help: string) => EventTopic;

export class ReplicationAdmin {
  readonly #cluster: Cluster<KvResult>;
  readonly #kv: KvModule | undefined;
  /** Groups that are followed, with their members when they last changed. */
  readonly #followed = new Map<GroupOfAny, string>();
  readonly #leaders = new Map<number, number>();
  /** How often each group, by its id, was found to have another leader. */
  readonly leaderChanges = new Map<number, number>();
  #raftTopic: EventTopic | undefined = undefined;
  #kvTopic: EventTopic | undefined = undefined;
  /** Since the last events, and only while somebody follows. */
  #compacted = false;
  #leasesExpired = 0;
  #isFullTold = false;

  /** `kv` is absent where the store's services are off. */
  constructor(cluster: Cluster<KvResult>, kv: KvModule | undefined) {
    this.#cluster = cluster;
    cluster.counters.onSnapshot = (group, meta, bytes) => this.#snapshotTaken(group, meta, bytes);
    this.#kv = kv;
  }

  // -------------------------------------------------------------------------------------------
  // What they say about themselves

  /** By module. */
  status(): Record<string, JsonObject> {
    const raft = this.#raftStatus();
    return this.#kv === undefined ? { raft } : { raft, kv: this.#kvStatus(this.#kv) };
  }

  #raftStatus(): JsonObject {
    const { root, record, host } = this.#cluster;
    const problem = this.#cluster.problem ?? root?.hindrance ?? root?.roomProblem;
    if (root === undefined || host === undefined) {
      return { state: "founding", problem: problem ?? "" };
    }
    const { leader } = root;
    const { configuration } = root.status();
    return {
      state: root.stopped === undefined ? root.role : "stopped",
      ...(problem === undefined ? {} : { problem }),
      clusterId: record?.clusterId ?? "",
      replica: root.replica,
      term: root.term,
      leader: leader === undefined ? null : { replica: leader.replica, name: leader.name },
      committed: root.committed,
      applied: root.applied,
      voters: configuration.voters.length,
      learners: configuration.learners.length + configuration.learnersNext.length,
      groups: host.groups.length,
      peers: host.peers.length,
      peersConnected: host.peers.filter((peer) => peer.connected).length,
      electionTimeoutMs: root.electionTimeoutMs,
      lowSpace: host.lowSpace,
    };
  }

  #kvStatus(kv: KvModule): JsonObject {
    const { counters: _counters, watching, leading, restoring, ...statistics } = kv.statistics();
    const { root } = this.#cluster;
    return {
      state: storeState(root?.stopped !== undefined, root !== undefined, restoring),
      leading,
      ...statistics,
      watches: watching.watches,
      full: kv.health.isFull,
    };
  }

  // -------------------------------------------------------------------------------------------
  // Readiness

  checks(): ReadinessCheck[] {
    const raft = { name: "raft", check: () => this.#raftProblem() };
    const kv = this.#kv;
    return kv === undefined ? [raft] : [raft, {
      name: "kv",
      check: () => kv.health.problem,
      note: () => kv.health.note,
    }];
  }

  #raftProblem(): string | undefined {
    const { problem, root } = this.#cluster;
    if (problem !== undefined || root === undefined) return problem;
    if (root.hindrance !== undefined) return root.hindrance;
    // The store waits as long as an election takes, and so do those who ask for its health.
    const isMissing = this.#kv?.health.isLeaderMissing ?? root.leader === undefined;
    return isMissing ? "there is no leader" : undefined;
  }

  // -------------------------------------------------------------------------------------------
  // Events

  openTopics(open: OpenTopic): void {
    this.#raftTopic = open(
      "raft",
      "leaders, terms, members, snapshots and groups that stopped, as this node sees them",
    );
    if (this.#kv === undefined) return;
    this.#kvTopic = open("kv", "compactions, the quota, and how many leases expired");
  }

  /** Members of a group changed, or there is another group: see `ClusterParts.changed`. */
  changed(): void {
    const { host, root } = this.#cluster;
    if (host === undefined) return;
    for (const group of this.#followed.keys()) {
      if (host.group(group.id) === group) continue;
      this.#followed.delete(group);
      this.#leaders.delete(group.id);
      this.leaderChanges.delete(group.id);
    }
    for (const group of host.groups) {
      const members = membersOf(group);
      const before = this.#followed.get(group);
      this.#followed.set(group, JSON.stringify(members));
      if (before === undefined) {
        group.observe(this.#observer(group));
        if (group === root && this.#kv !== undefined) root.observe(this.#storeObserver(this.#kv));
      } else if (before !== JSON.stringify(members)) {
        this.#publishRaft(group, () => ({ kind: "members", ...members }));
      }
    }
  }

  #snapshotTaken(group: number, { index }: SnapshotMeta, bytes: number): void {
    const taken = this.#cluster.host?.group(group);
    if (taken === undefined) return;
    this.#publishRaft(taken, () => ({ kind: "snapshot", index, bytes }));
  }

  #observer(group: GroupOfAny): GroupObserver<unknown> {
    return {
      leader: (leader) => {
        if (leader !== undefined && this.#leaders.get(group.id) !== leader.replica) {
          this.#leaders.set(group.id, leader.replica);
          this.leaderChanges.set(group.id, (this.leaderChanges.get(group.id) ?? 0) + 1);
        }
        this.#publishRaft(group, () => ({
          kind: "leader",
          role: group.role,
          leader: leader === undefined ? null : { replica: leader.replica, name: leader.name },
        }));
      },
      led: (leading) => this.#publishRaft(group, () => ({ kind: "leading", leading })),
      restoring: () => this.#publishRaft(group, () => ({ kind: "restoring" })),
      restored: () =>
        this.#publishRaft(group, () => ({ kind: "restored", index: group.status().applied })),
      stopped: (error) =>
        this.#publishRaft(group, () => ({ kind: "stopped", reason: error.rawMessage })),
    };
  }

  #publishRaft(group: GroupOfAny, data: () => JsonObject): void {
    if (this.#raftTopic?.wanted !== true) return;
    this.#raftTopic.publish({
      group: group.id,
      name: group.name,
      term: group.term,
      ...data(),
    });
  }

  #storeObserver(kv: KvModule): GroupObserver<KvResult> {
    return {
      applied: (entry, result) => {
        if (result.kind === "compact") this.#compacted = this.#kvTopic?.wanted === true;
        else if (result.kind === "leaseRevoke") this.#countExpired(entry);
      },
      progressed: () => {
        if (this.#kvTopic?.wanted === true) this.#publishStore(kv, this.#kvTopic);
      },
    };
  }

  /** Leases that ended by themselves; those that their owners ended are no news. */
  #countExpired(entry: MachineEntry): void {
    if (this.#kvTopic?.wanted !== true) return;
    const envelope = decodeCommand(entry.data);
    if (typeof envelope === "string" || envelope.command.kind !== "leaseExpire") return;
    this.#leasesExpired += envelope.command.ids.length;
  }

  #publishStore(kv: KvModule, topic: EventTopic): void {
    const { machine } = kv;
    const { revision } = machine;
    if (this.#compacted) {
      this.#compacted = false;
      topic.publish({ kind: "compacted", revision, compactRevision: machine.compactRevision });
    }
    if (this.#leasesExpired > 0) {
      topic.publish({ kind: "leasesExpired", revision, leases: this.#leasesExpired });
      this.#leasesExpired = 0;
    }
    const isFull = kv.health.isFull;
    if (isFull === this.#isFullTold) return;
    this.#isFullTold = isFull;
    const { bytes, bytesMax } = machine.statistics();
    topic.publish({ kind: isFull ? "quotaReached" : "quotaLeft", revision, bytes, bytesMax });
  }
}

function storeState(isStopped: boolean, isThere: boolean, restoring: boolean): string {
  if (isStopped) return "stopped";
  if (!isThere) return "waiting";
  return restoring ? "restoring" : "serving";
}

/** Who takes part in a group, by replica. */
function membersOf(group: GroupOfAny): JsonObject {
  const { voters, votersOutgoing, learners, learnersNext } = group.status().configuration;
  const named = (ids: readonly number[]): JsonObject[] =>
    ids.map((replica) => ({ replica, name: group.members.get(replica)?.name ?? "" }));
  return {
    voters: named(voters),
    votersOutgoing: named(votersOutgoing),
    learners: named(learners),
    learnersNext: named(learnersNext),
  };
}
