/** The membership module's numbers in the node's registry, and their table for the reference. */
import type { MetricsRegistry } from "../base/metrics.ts";
import { MemberRole } from "../membership/core/member.ts";
import type { Members } from "../membership/members.ts";
import type { MembersState } from "../membership/members_types.ts";
import { isDegraded, type ViewCounters } from "./membership_admin.ts";

const states: readonly MembersState[] = ["waiting", "joining", "member", "left"];

export const membershipMetrics = {
  state: {
    name: "covey_membership_state",
    unit: "boolean",
    help: "1 for the state that this node is in, 0 for the others: waiting, joining, member, left.",
    kind: "gauge",
    labels: ["state"],
  },
  degraded: {
    name: "covey_membership_degraded",
    unit: "boolean",
    help: "1 while this node is a member, but cannot follow who is there.",
    kind: "gauge",
  },
  members: {
    name: "covey_membership_members",
    unit: "members",
    help: "Members of the view that this node was in last, core and leaf ones apart.",
    kind: "gauge",
    labels: ["role"],
  },
  epoch: {
    name: "covey_membership_epoch",
    unit: "epoch",
    help: "The number of that view; 0 before the first.",
    kind: "gauge",
  },
  views: {
    name: "covey_membership_views_total",
    unit: "views",
    help: "Views that this node has come to be in, the first one included.",
    kind: "counter",
  },
  changes: {
    name: "covey_membership_changes_total",
    unit: "members",
    help: "Members that joined and left between these views.",
    kind: "counter",
    labels: ["change"],
  },
  links: {
    name: "covey_membership_links_up",
    unit: "links",
    help: "Streams to other members that are up.",
    kind: "gauge",
  },
  probes: {
    name: "covey_membership_probes_total",
    unit: "probes",
    help: "Probes that this node sent, and answers that came, in time or not.",
    kind: "counter",
    labels: ["event"],
  },
  dropped: {
    name: "covey_membership_dropped_total",
    unit: "messages",
    help:
      "Messages that were dropped: from whoever is no member (stranger), of a view that contradicts " +
      "this node's (fork), with what cannot be so (invalid), or no message at all (frame).",
    kind: "counter",
    labels: ["reason"],
  },
} as const;

export function showMembershipMetrics(
  registry: MetricsRegistry,
  members: Members,
  counters: ViewCounters,
): void {
  const shown = registry.declare(membershipMetrics);
  for (const state of states) {
    shown.state.with(state).source = () => members.state === state ? 1 : 0;
  }
  shown.degraded.source = () => isDegraded(members) ? 1 : 0;
  for (const role of ["core", "leaf"] as const) {
    shown.members.with(role).source = () => countOf(members, MemberRole[role]);
  }
  shown.epoch.source = () => members.feed.present?.epoch ?? 0;
  shown.views.source = () => counters.views;
  shown.changes.with("joined").source = () => counters.joined;
  shown.changes.with("left").source = () => counters.left;
  const counted = members.counters;
  shown.links.source = () => counted.linksUp();
  shown.probes.with("sent").source = () => counted.probesSent;
  shown.probes.with("answered").source = () => counted.probesAnswered;
  shown.dropped.with("stranger").source = () => counted.dropped.strangers;
  shown.dropped.with("fork").source = () => counted.dropped.forks;
  shown.dropped.with("invalid").source = () => counted.dropped.invalid;
  shown.dropped.with("frame").source = () => counted.framesInvalid;
}

function countOf({ feed }: Members, role: MemberRole): number {
  let count = 0;
  for (const member of feed.present?.members ?? []) if (member.role === role) count++;
  return count;
}
