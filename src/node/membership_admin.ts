/**
 * What the admin endpoint is told of membership: what it says about itself, why it is not ready,
 * and what happens to it as events. While nobody follows them, no event is made.
 */
import type { ReadinessCheck } from "../admin/parts.ts";
import type { JsonObject } from "../base/log_json.ts";
import type { Member } from "../membership/core/member.ts";
import type { Members } from "../membership/members.ts";
import type { MembersState } from "../membership/members_types.ts";
import type { View } from "../membership/view_feed.ts";
import type { EventTopic, OpenTopic } from "./replication_admin.ts";

/** What was counted since the start. */
export interface ViewCounters {
  views: number;
  joined: number;
  left: number;
}

export class MembershipAdmin {
  readonly #members: Members;
  readonly counters: ViewCounters = { views: 0, joined: 0, left: 0 };
  #view: View | undefined = undefined;
  #state: MembersState;
  #isDegraded = false;
  #topic: EventTopic | undefined = undefined;

  constructor(members: Members) {
    this.#members = members;
    this.#state = members.state;
    members.feed.observe((view) => this.#seen(view));
  }

  /** By module. */
  status(): Record<string, JsonObject> {
    const { state, problem, clusterId, feed } = this.#members;
    return {
      membership: {
        state,
        ...(problem === undefined ? {} : { problem }),
        clusterId,
        epoch: feed.present?.epoch ?? 0,
        members: feed.present?.members.length ?? 0,
      },
    };
  }

  /**
   * A node that is no member is not ready: nobody sends it anything. One that is degraded is, with a
   * note: what it serves has checks of its own, and all would be unready at once.
   */
  checks(): ReadinessCheck[] {
    const members = this.#members;
    return [{
      name: "membership",
      check: () => members.state === "member" ? undefined : members.problem,
      note: () => isDegraded(members) ? members.problem : undefined,
    }];
  }

  openTopics(open: OpenTopic): void {
    this.#topic = open("membership", "views, what this node is in them, and whether it can follow");
  }

  /** See `MembersParts.changed`. */
  changed(): void {
    const { state, problem } = this.#members;
    if (state !== this.#state) {
      this.#state = state;
      this.#publish(() => ({ kind: "state", state }));
    }
    const why = isDegraded(this.#members) ? problem : undefined;
    if ((why !== undefined) === this.#isDegraded) return;
    this.#isDegraded = why !== undefined;
    this.#publish((): JsonObject =>
      why === undefined ? { kind: "recovered" } : { kind: "degraded", why }
    );
  }

  #seen(view: View): void {
    const before = this.#view;
    // Also called when members only say something else of themselves.
    if (view === before) return;
    this.#view = view;
    const joined = missingIn(before, view.members);
    const left = missingIn(view, before?.members ?? []);
    this.counters.views++;
    if (before !== undefined) {
      this.counters.joined += joined.length;
      this.counters.left += left.length;
    }
    // With its first view, and after one that it was not in, it is a member.
    this.changed();
    this.#publish(() => ({
      kind: "view",
      epoch: view.epoch,
      members: view.members.length,
      joined: joined.map(named),
      left: left.map(named),
      // Those that this node was not in, or heard of too late.
      skipped: before === undefined ? 0 : Math.max(0, view.epoch - before.epoch - 1),
    }));
  }

  #publish(data: () => JsonObject): void {
    if (this.#topic?.wanted === true) this.#topic.publish(data());
  }
}

/** Whether it is a member that cannot follow who is there. */
export function isDegraded({ state, problem }: Pick<Members, "state" | "problem">): boolean {
  return state === "member" && problem !== undefined;
}

function missingIn(view: View | undefined, members: readonly Member[]): Member[] {
  const there = new Set(view?.members.map(({ incarnation }) => incarnation));
  return members.filter(({ incarnation }) => !there.has(incarnation));
}

function named({ name, address, nodeId }: Member): JsonObject {
  return { name, address, nodeId };
}
