/** Membership as a program in the same process uses it: `node.members`. */
import { Code, CoveyError } from "../base/error.ts";
import type { Member } from "../membership/core/member.ts";
import type { Members } from "../membership/members.ts";
import type { MembersState } from "../membership/members_types.ts";
import type { View, ViewChange } from "../membership/view_feed.ts";
import { coordinateKey, servicesKey, tagsKey } from "./member_facts.ts";

/** What the node itself says under. */
const ownKeys: readonly string[] = [coordinateKey, servicesKey, tagsKey];

/** For the others to take this node out. */
const leaveMsDefault = 5_000;

/** Who takes part in the cluster, as this node sees it: at every member the same views follow. */
export class NodeMembers {
  readonly #members: Members;

  constructor(members: Members) {
    this.#members = members;
  }

  /**
   * `waiting` (no cluster is known yet), `joining` (it asks to be let in), `member` or `left`. A
   * member that the others have taken out is `joining` again.
   */
  get state(): MembersState {
    return this.#members.state;
  }

  /** Why this node is no member, or cannot follow who is there; undefined while all is well. */
  get problem(): string | undefined {
    return this.#members.problem;
  }

  /** 32 hexadecimal digits; empty while no cluster is known. */
  get clusterId(): string {
    return this.#members.clusterId;
  }

  /** This node as a member, or as it wants to become one; undefined while no cluster is known. */
  get self(): Member | undefined {
    return this.#members.self;
  }

  /** The view; undefined while this node is no member. */
  get current(): View | undefined {
    return this.#members.view;
  }

  /**
   * The present view, then each that follows, with who joined and who left. A reader that is slow
   * gets the newest one, and how many it has skipped. Ends with the signal, or with the node.
   */
  views(signal?: AbortSignal): AsyncIterableIterator<ViewChange> {
    return this.#members.feed.read(signal);
  }

  /**
   * Tells the others that this node goes, and waits until they have taken it out, at most for
   * `timeoutMs` (5 s). It does not come back before the node is started again.
   * `failed_precondition` while it is no member.
   */
  async leave({ timeoutMs = leaveMsDefault }: { readonly timeoutMs?: number } = {}): Promise<void> {
    if (this.#members.state !== "member") throw this.#noMember();
    await this.#members.leave(timeoutMs);
  }

  /**
   * Has another member taken out of the view. If it still runs it learns of it, and joins again.
   * `not_found` when the view does not hold it; `failed_precondition` when it is this node, and
   * while this node is no member.
   */
  kick({ address }: Pick<Member, "address">): void {
    const { state, self } = this.#members;
    if (state !== "member") throw this.#noMember();
    if (address === self?.address) {
      throw new CoveyError(
        Code.failedPrecondition,
        "a node does not send itself away: call leave()",
      );
    }
    this.#members.kick(address);
  }

  /** What a member says of itself beside its record; empty for whoever is not in the view. */
  factsOf(member: Member): ReadonlyMap<string, Uint8Array> {
    return this.#members.factsOf(member);
  }

  /**
   * Says something of this node to all members, now and whenever it joins again; undefined takes it
   * back. `resource_exhausted` above 4 KiB or 32 keys in all; `invalid_argument` for `tags`,
   * `services` and `coordinate`, under which the node speaks itself.
   */
  say(key: string, value: Uint8Array | undefined): void {
    if (ownKeys.includes(key)) {
      throw new CoveyError(
        Code.invalidArgument,
        `${JSON.stringify(key)} is what the node says itself: take another key`,
      );
    }
    this.#members.say(key, value);
  }

  #noMember(): CoveyError {
    return new CoveyError(
      Code.failedPrecondition,
      `this node is no member of a cluster: ${this.#members.problem}`,
    );
  }
}
