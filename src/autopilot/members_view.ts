/**
 * The membership module as autopilot sees it. Every node follows the views, so that whoever leads
 * next knows who left, if it was there at that time.
 */
import type { Subscription } from "../runtime/port.ts";
import type { Departure } from "./core/types.ts";
import type { FeedMember, FeedView, ViewFeed } from "./view_feed.ts";

/** Nodes that left and are remembered; who is forgotten is given up like one that failed. */
const departedMax = 256;

export interface MembersLike {
  /** Undefined while this node is no member. */
  readonly view: FeedView | undefined;
  readonly isDegraded: boolean;
  readonly feed: { observe(listener: (view: FeedView) => void): Subscription };
}

export interface MembersViewParts {
  readonly members: MembersLike;
  readonly tagsOf: (member: FeedMember) => readonly string[];
  /** Asked of members of the present view. */
  readonly isLeaving: (member: FeedMember) => boolean;
}

export class MembersView implements ViewFeed {
  readonly #parts: MembersViewParts;
  readonly #callbacks = new Set<() => void>();
  readonly #subscription: Subscription;
  /** Members of the newest view that said that they would leave. */
  #leaving = new Set<string>();
  /** The oldest first. */
  readonly #departed = new Set<string>();

  constructor(parts: MembersViewParts) {
    this.#parts = parts;
    this.#subscription = parts.members.feed.observe((view) => this.#seen(view));
  }

  get current(): FeedView | undefined {
    return this.#parts.members.view;
  }

  get isDegraded(): boolean {
    return this.#parts.members.isDegraded;
  }

  tagsOf(member: FeedMember): readonly string[] {
    return this.#parts.tagsOf(member);
  }

  isLeaving(member: FeedMember): boolean {
    return this.#parts.isLeaving(member);
  }

  departure(nodeId: string): Departure | undefined {
    return this.#departed.has(nodeId) ? "left" : undefined;
  }

  changed(callback: () => void): Subscription {
    this.#callbacks.add(callback);
    return { cancel: () => void this.#callbacks.delete(callback) };
  }

  stop(): void {
    this.#subscription.cancel();
    this.#callbacks.clear();
  }

  #seen({ members }: FeedView): void {
    const present = new Set(members.map(({ nodeId }) => nodeId));
    for (const nodeId of this.#leaving) if (!present.has(nodeId)) this.#departed.add(nodeId);
    for (const nodeId of this.#departed) {
      if (present.has(nodeId) || this.#departed.size > departedMax) this.#departed.delete(nodeId);
    }
    this.#leaving = new Set(
      members.filter((member) => this.#parts.isLeaving(member)).map(({ nodeId }) => nodeId),
    );
    for (const callback of this.#callbacks) callback();
  }
}
