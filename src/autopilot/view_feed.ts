/** What autopilot needs of the membership. */
import type { Subscription } from "../runtime/port.ts";
import type { Departure, Standing, View, ViewMember } from "./core/types.ts";

export interface FeedMember {
  readonly address: string;
  readonly nodeId: string;
  readonly incarnation: bigint;
  readonly name: string;
  /** 0 takes part in decisions, 1 is a leaf. */
  readonly role: 0 | 1;
}

export interface FeedView {
  readonly epoch: number;
  readonly members: readonly FeedMember[];
}

export interface ViewFeed {
  /** Undefined until this node is a member. */
  readonly current: FeedView | undefined;
  /** This side cannot agree on a new view. */
  readonly isDegraded: boolean;
  tagsOf(member: FeedMember): readonly string[];
  /** It has said that it is about to leave. */
  isLeaving(member: FeedMember): boolean;
  /** How a node that is in the view no more went, as far as this node has seen it go. */
  departure(nodeId: string): Departure | undefined;
  /** There is another view, or the side became degraded or is not any more. */
  changed(callback: () => void): Subscription;
}

const zonePrefix = "zone=";

/** The value of the first tag `zone=…`; empty without one. */
export function zoneOf(tags: readonly string[]): string {
  return tags.find((tag) => tag.startsWith(zonePrefix))?.slice(zonePrefix.length) ?? "";
}

/** The view as decisions need it. Without one, everybody may be anywhere: that is degraded. */
export function viewOf(feed: ViewFeed, standing: (nodeId: string) => Standing): View {
  const { current } = feed;
  if (current === undefined) return { epoch: 0, isDegraded: true, members: [] };
  const members: ViewMember[] = current.members.map((member) => ({
    address: member.address,
    nodeId: member.nodeId,
    incarnation: member.incarnation,
    name: member.name,
    isLeaf: member.role === 1,
    zone: zoneOf(feed.tagsOf(member)),
    standing: standing(member.nodeId),
    isLeaving: feed.isLeaving(member),
  }));
  return { epoch: current.epoch, isDegraded: feed.isDegraded, members };
}
