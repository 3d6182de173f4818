/**
 * Whether a leader's entries reach a replica. Without them it hears its leader and answers it, and
 * falls behind: whoever asks it has to know why.
 */
import type { GroupOfAny } from "./group_types.ts";
import type { Peer } from "./peer.ts";

/** Entries that were refused are sent again in less time, or there are none any more. */
const refusedMs = 5_000;
/** Refusals for as long are no moment's trouble. */
const patienceMs = 500;
/** How long a leader has to dial the link for entries, before its follower does. */
const undialledMs = 1_000;
/** A link that is not there after this time does not come soon. */
const cutMs = 4_000;

const fullDisk =
  "this replica is behind because its disk is full: make room on it (bytes or inodes), or ask " +
  "another node";

export class Supply {
  readonly #changed: () => void;
  /** Since when entries find no room, and when the last did not. */
  #refusedSinceMs = -Infinity;
  #refusedAtMs = -Infinity;
  /** Since when there is no way for entries. */
  #cutSinceMs = Infinity;
  #problem: string | undefined = undefined;

  /** Is told when {@link problem} is another one. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Why this replica gets no entries; undefined while it does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Entries came, and there is room for them or not. Says whether there is. */
  came(hasRoom: boolean, nowMs: number): boolean {
    if (hasRoom) {
      this.#refusedAtMs = -Infinity;
      if (this.#problem !== undefined) this.#say(undefined);
      return true;
    }
    if (!this.#isRefusing(nowMs)) this.#refusedSinceMs = nowMs;
    this.#refusedAtMs = nowMs;
    if (nowMs - this.#refusedSinceMs >= patienceMs) this.#say(fullDisk);
    return false;
  }

  /**
   * Now and then, with the node that leads if it is another one. A leader that cannot dial the link
   * for entries, because this node says that it is elsewhere or a firewall lets nobody in, uses the
   * one that is dialled from here.
   */
  look(leader: Peer | undefined, nowMs: number): void {
    const link = leader?.link("log");
    if (leader === undefined || !leader.connected || link?.isOpen === true) {
      this.#cutSinceMs = Infinity;
    } else {
      this.#cutSinceMs = Math.min(this.#cutSinceMs, nowMs);
      if (nowMs - this.#cutSinceMs >= undialledMs) link?.connect();
    }
    if (this.#isRefusing(nowMs)) return;
    this.#say(
      nowMs - this.#cutSinceMs < cutMs ? undefined : `the log of ${leader?.name} does not come ` +
        "here: neither node can dial the other's link for it; look at the address that this node " +
        "advertises, and at the firewalls between the two",
    );
  }

  #isRefusing(nowMs: number): boolean {
    return nowMs - this.#refusedAtMs < refusedMs;
  }

  #say(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#changed();
  }
}

/** Looks for one group of this node. */
export function lookAtSupply(
  host: { peer(nodeId: string): Peer | undefined; nowMs(): number },
  group: GroupOfAny,
): void {
  const { leader } = group;
  const isElsewhere = leader !== undefined && !group.leads && group.stopped === undefined;
  group.supply.look(isElsewhere ? host.peer(leader.nodeId) : undefined, host.nowMs());
}
