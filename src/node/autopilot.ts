/**
 * Autopilot of the key-value store's group, between the membership and consensus. Loaded only where
 * both are enabled and `autopilot.mode` is not `off`.
 */
import { Autopilot, type AutopilotStatus } from "../autopilot/autopilot.ts";
import { defaultPolicy, type Policy } from "../autopilot/core/types.ts";
import { MembersView } from "../autopilot/members_view.ts";
import { autopilotMetrics } from "../autopilot/metrics.ts";
import { RaftManagedGroup } from "../autopilot/raft_group.ts";
import { askOverMesh } from "../autopilot/standings.ts";
import type { FeedMember } from "../autopilot/view_feed.ts";
import type { Logger } from "../base/log.ts";
import type { Instruments, MetricsRegistry } from "../base/metrics.ts";
import type { Member } from "../membership/core/member.ts";
import type { Members } from "../membership/members.ts";
import type { Cluster } from "../raft/cluster.ts";
import type { GroupOfAny } from "../raft/group_types.ts";
import type { NodeRaft } from "../raft/node_raft.ts";
import type { Runtime } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";

/** A member says it while it waits for its replica to be taken out. */
export const leavingFact = "leaving";

export interface AutopilotConfig {
  readonly mode: Policy["mode"];
  readonly voters: number;
  readonly learners_max: number;
  /** Milliseconds, as the three below. */
  readonly replace_after: number;
  readonly remove_after: number;
  readonly stabilize: number;
}

export interface NodeAutopilotParts {
  readonly runtime: Runtime;
  readonly config: AutopilotConfig;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly members: Members;
  readonly tagsOf: (member: Member) => readonly string[];
  readonly cluster: Cluster;
  readonly raft: NodeRaft;
  readonly channel: (address: string) => Channel;
}

export class NodeAutopilot {
  readonly #parts: NodeAutopilotParts;
  readonly #view: MembersView;
  readonly #metrics: Instruments<typeof autopilotMetrics>;
  #autopilot: Autopilot | undefined = undefined;

  constructor(parts: NodeAutopilotParts) {
    this.#parts = parts;
    this.#metrics = parts.metrics.declare(autopilotMetrics);
    const { members, tagsOf } = parts;
    this.#view = new MembersView({
      members,
      tagsOf: (member: FeedMember) => tagsOf(member as Member),
      isLeaving: (member: FeedMember) => members.factsOf(member as Member).has(leavingFact),
    });
  }

  /** The root group runs here; see `ClusterParts.started`. */
  attach(group: GroupOfAny): void {
    const { runtime, config, logger, metrics, cluster, raft, channel } = this.#parts;
    this.#autopilot = new Autopilot({
      clock: runtime.clock,
      logger: logger.child("autopilot"),
      metrics: this.#metrics,
      asksLimited: () => void metrics.limit("autopilot_asks").value++,
      policy: policyOf(config),
      group: new RaftManagedGroup({
        group,
        operator: raft.operator,
        hasRoom: (nodeId) => hasRoom(cluster, nodeId),
      }),
      view: this.#view,
      ask: askOverMesh(channel, () => cluster.record?.clusterId),
    });
    this.#autopilot.start();
  }

  /** Undefined before there is a group. */
  status(): AutopilotStatus | undefined {
    return this.#autopilot?.status();
  }

  /** Before consensus stops. */
  async stop(): Promise<void> {
    await this.#autopilot?.stop();
    this.#view.stop();
  }
}

function policyOf(config: AutopilotConfig): Policy {
  return {
    ...defaultPolicy,
    mode: config.mode,
    voters: config.voters,
    learnersMax: config.learners_max,
    replaceAfterMs: config.replace_after,
    removeAfterMs: config.remove_after,
    stabilizeMs: config.stabilize,
  };
}

function hasRoom({ host }: Cluster, nodeId: string): boolean {
  if (host === undefined) return true;
  if (nodeId === host.nodeId) return !host.lowSpace;
  return host.peer(nodeId)?.lowSpace !== true;
}
