/**
 * What must hold after every step, whatever fails (dissertation, figure 3.2 and chapter 4), as an
 * observer sees it who knows every replica, every disk, and every entry that was ever made.
 */
import { isJoint } from "../../../src/raft/core/configuration.ts";
import { majorityIndex } from "../../../src/raft/core/quorum.ts";
import { type Ready, Role } from "../../../src/raft/core/ready.ts";
import type { Status } from "../../../src/raft/core/status.ts";
import { type Configuration, EntryType, type ReplicaId } from "../../../src/raft/core/types.ts";
import { type Disks, type DurableLog, entryHash } from "./durable_log.ts";
import type { Marker } from "./marks.ts";
import type { ReplicaWatch } from "./replica_watch.ts";
import type { Verdict } from "../seeds/verdict.ts";

interface ConfigurationAt {
  readonly index: number;
  readonly configuration: Configuration;
  readonly text: string;
}

/** Of the one group of the key-value store. */
export class Invariants {
  readonly #verdict: Verdict;
  readonly #mark: Marker;
  /** The machine's disk of each replica. */
  readonly #disks: Disks;
  readonly #leaders = new Map<number, ReplicaWatch>();
  readonly #leaderIds = new Map<number, ReplicaId>();
  /** Every entry ever made, by term and index: its hash and the term of the entry before it. */
  readonly #entries = new Map<number, Map<number, { hash: number; before: number }>>();
  /** Terms of the committed entries by index. Groups are founded at index 1, in term 1. */
  readonly committedTerms: number[] = [0, 1];
  /** In which leader's term each of them was committed. */
  readonly #committedIn: number[] = [0, 1];
  /** What applying an entry gave, by index. */
  readonly #applied = new Map<number, number>();
  readonly #configurations: ConfigurationAt[] = [];
  readonly #votes = new Map<string, number>();
  readonly #terms = new Map<ReplicaId, number>();

  constructor(
    verdict: Verdict,
    mark: Marker,
    disks: Disks,
  ) {
    this.#verdict = verdict;
    this.#mark = mark;
    this.#disks = disks;
  }

  get committed(): number {
    return this.committedTerms.length - 1;
  }

  get configuration(): Configuration | undefined {
    return this.#configurations.at(-1)?.configuration;
  }

  // -------------------------------------------------------------------------------------------
  // Starts and disks

  started(replica: ReplicaWatch): void {
    const { seen } = replica;
    if (seen.applied > 0) this.#configured(replica, seen, seen.applied, "snapshot");
    this.#ordered(replica, seen);
  }

  /** What a restart found, against what was synced before it. */
  recovered(name: string, before: DurableLog, unsynced: readonly Uint8Array[], found: DurableLog) {
    const differences: string[] = [];
    // Of the batch that was being written, all came through or nothing.
    const candidates = [before];
    if (unsynced.length > 0) {
      const after = before.clone();
      for (const bytes of unsynced) after.apply(bytes);
      candidates.push(after);
    }
    for (const candidate of candidates) {
      const difference = differenceOf(candidate, found);
      if (difference === undefined) {
        if (unsynced.length > 0) {
          this.#mark(candidate === before ? "unsynced batch lost" : "unsynced batch kept");
        }
        return;
      }
      differences.push(difference);
    }
    this.#verdict.violate(
      "a restart finds everything that was durable",
      `${name}: ${differences.join("; ")}`,
    );
  }

  /** One vote a term, and no way back. */
  synced(log: DurableLog): void {
    for (const { replica, term, vote } of log.groups.values()) {
      this.#verdict.check(
        term >= (this.#terms.get(replica) ?? 0),
        "a durable term never goes back",
        () => `replica ${replica} has term ${term} on disk, after ${this.#terms.get(replica)}`,
      );
      this.#terms.set(replica, term);
      if (vote === 0) continue;
      const key = `${replica}/${term}`;
      const before = this.#votes.get(key) ?? vote;
      this.#verdict.check(
        before === vote,
        "one durable vote a term",
        () => `replica ${replica} has voted for ${before} and ${vote} in term ${term}`,
      );
      this.#votes.set(key, vote);
    }
  }

  /** Whoever led in a term; at most one, as long as nothing is wrong. */
  leaderOf(term: number): ReplicaWatch | undefined {
    return this.#leaders.get(term);
  }

  // -------------------------------------------------------------------------------------------
  // Steps

  handed(replica: ReplicaWatch, ready: Ready): void {
    const before = replica.seen;
    const status = replica.parts.core.status();
    this.#logMatching(replica, ready);
    const termBefore = replica.memory.termAt(ready.entries[0]?.index ?? 0);
    const cut = replica.handed(ready);
    if (cut > 0) {
      this.#mark("truncated suffix");
      this.#verdict.check(
        // One leader a term: what it sends in its term cannot differ from itself.
        before.term !== status.term || termBefore !== ready.entries[0].term,
        "what matches stays",
        () => `${replica.name} took back entry ${ready.entries[0].index} for the very same one`,
      );
      this.#verdict.check(
        !(before.role === Role.leader && status.role === Role.leader &&
          before.term === status.term),
        "a leader only appends",
        () => `${replica.name} took back ${cut} of its entries in term ${status.term}`,
      );
    }
    this.#changesInOrder(replica, ready, status);
    this.#ordered(replica, status);
    const later = (name: string, from: number, to: number): void =>
      this.#verdict.check(
        to >= from,
        "terms and indexes never go back",
        () => `the ${name} of ${replica.name} goes from ${from} to ${to}`,
      );
    later("term", before.term, status.term);
    later("commit index", before.committed, status.committed);
    later("applied index", before.applied, status.applied);
    if (status.role === Role.leader) this.#leads(replica, status);
    if (status.committed > before.committed) this.#commits(replica, status);
    if (status.configuration !== replica.configuration) {
      const change = replica.lastChange(status.applied);
      const source = status.counters.snapshotsRestored > before.counters.snapshotsRestored
        ? "snapshot"
        : "entry";
      const index = source === "snapshot" ? status.snapshotIndex : change;
      this.#configured(replica, status, index, source);
    }
    this.#markStatus(replica, status);
    replica.configuration = status.configuration;
    replica.seen = status;
  }

  /** A leader changes members one step at a time, and none before it knows what is committed. */
  #changesInOrder(replica: ReplicaWatch, { entries }: Ready, status: Status): void {
    const { role, term, committed, applied } = status;
    const change = entries.find((entry) => entry.type === EntryType.configuration);
    if (change === undefined || role !== Role.leader || change.term !== term) return;
    this.#verdict.check(
      replica.memory.termAt(committed) === term,
      "no change before a leader's first commit",
      () => `${replica.name} proposes ${change.index} in term ${term}, with ${committed} committed`,
    );
    const pending = replica.pendingChanges(applied);
    this.#verdict.check(
      pending.length <= 1,
      "one change of the members at a time",
      () => `${replica.name} has changes ${pending.join(" and ")} under way, applied ${applied}`,
    );
  }

  #ordered(replica: ReplicaWatch, status: Status): void {
    const { firstIndex, snapshotIndex, applied, committed, lastIndex, stableIndex } = status;
    this.#verdict.check(
      // A leader's snapshot stands there before it is restored and durable.
      firstIndex - 1 <= Math.max(snapshotIndex, Math.min(applied, stableIndex)) &&
        (snapshotIndex <= applied || snapshotIndex === replica.memory.mark) &&
        snapshotIndex <= committed && applied <= committed && committed <= lastIndex &&
        stableIndex <= lastIndex,
      "purged, snapshot ≤ applied ≤ commit ≤ last",
      () =>
        `${replica.name}: purged ${
          firstIndex - 1
        }, snapshot ${snapshotIndex}, applied ${applied}, ` +
        `commit ${committed}, last ${lastIndex}, stable ${stableIndex}`,
    );
  }

  /** By induction: whoever has an entry has the same one, after an entry of the same term. */
  #logMatching(replica: ReplicaWatch, { snapshot, entries }: Ready): void {
    if (entries.length === 0) return;
    const { memory } = replica;
    const first = entries[0].index;
    let before = snapshot?.index === first - 1 ? snapshot.term : memory.termAt(first - 1) ?? -1;
    for (const { index, term, type, data } of entries) {
      let ofTerm = this.#entries.get(term);
      if (ofTerm === undefined) this.#entries.set(term, ofTerm = new Map());
      const hash = entryHash(type, data);
      const known = ofTerm.get(index);
      if (known === undefined) ofTerm.set(index, { hash, before });
      else {
        this.#verdict.check(
          known.hash === hash && (known.before === before || before === -1),
          "logs match",
          () => `${replica.name} has another entry ${index} of term ${term} than somebody else`,
        );
      }
      before = term;
    }
  }

  /** One leader a term, that has everything committed before. */
  #leads(replica: ReplicaWatch, { term, committed }: Status): void {
    const known = this.#leaderIds.get(term);
    if (known !== undefined) {
      this.#verdict.check(
        // Nor may a replica lead once more that has died meanwhile.
        replica.ledTerm === term,
        "one leader a term",
        () => `${known} and ${replica.id} lead in term ${term}`,
      );
      return;
    }
    replica.ledTerm = term;
    this.#leaderIds.set(term, replica.id);
    if (this.#leaderIds.size > 1) this.#mark("leader change");
    for (const other of this.#leaders.values()) {
      if (other !== replica && other.parts.alive() && other.seen.role === Role.leader) {
        this.#mark("two leaders of different terms");
      }
    }
    this.#leaders.set(term, replica);
    const { disk, memory } = replica;
    this.#verdict.check(
      disk?.term === term && disk.vote === replica.id,
      "a leader's own vote is durable",
      () => `${replica.name} leads in term ${term}; on disk: term ${disk?.term}`,
    );
    for (let index = this.committed; index > Math.max(committed, memory.mark); index--) {
      // Votes may come so late that there is a leader of a later term already.
      if (this.#committedIn[index] >= term) continue;
      this.#verdict.check(
        memory.termAt(index) === this.committedTerms[index],
        "a leader has all that was committed",
        () =>
          `${replica.name} leads in term ${term} with entry ${index} of term ` +
          `${memory.termAt(index)}, and ${this.committedTerms[index]} was committed`,
      );
    }
  }

  /** A leader commits what is durable on the quorum of its configuration; others follow. */
  #commits(replica: ReplicaWatch, status: Status): void {
    const { memory, seen: before, ledTerm } = replica;
    const to = status.committed;
    const isLeader = ledTerm > 0 && ledTerm >= before.term;
    if (isLeader && to > this.committed) this.#onQuorum(replica, status);
    for (let index = before.committed + 1; index <= to; index++) {
      const term = memory.termAt(index);
      // Compacted entries came with a snapshot, which is looked at when it is restored.
      if (term === undefined) continue;
      if (index < this.committedTerms.length) {
        this.#verdict.check(
          this.committedTerms[index] === term,
          "what is committed is the same everywhere",
          () => `${replica.name} commits entry ${index} of term ${term}, others of another`,
        );
        continue;
      }
      this.#verdict.check(
        isLeader,
        "only a leader commits first",
        () => `${replica.name} commits entry ${index} before any leader`,
      );
      this.committedTerms.push(term);
      this.#committedIn.push(ledTerm);
    }
  }

  #onQuorum(replica: ReplicaWatch, status: Status): void {
    const { memory, ledTerm } = replica;
    const index = status.committed;
    const term = memory.termAt(index);
    const has = (id: ReplicaId): number => this.#disks(id)?.termAt(index) === term ? 1 : 0;
    const holds = ({ voters, votersOutgoing }: Configuration): boolean =>
      majorityIndex(voters, has) >= 1 && majorityIndex(votersOutgoing, has) >= 1;
    this.#verdict.check(
      // It may have applied a change since.
      holds(status.configuration) || holds(replica.configuration),
      "what is committed is durable on a quorum",
      () => `${replica.name} commits entry ${index} of term ${term}`,
    );
    this.#verdict.check(
      term === ledTerm,
      "only entries of the own term are committed by counting",
      () => `${replica.name} leads term ${ledTerm} and commits entry ${index} of term ${term}`,
    );
  }

  // -------------------------------------------------------------------------------------------
  // Machines

  /** `outcome` is a hash of the entry and its result. */
  applied(replica: ReplicaWatch, index: number, term: number, outcome: number): void {
    this.#verdict.check(
      index > replica.machineIndex,
      "a machine applies an entry once",
      () => `${replica.name} applies entry ${index} after ${replica.machineIndex}`,
    );
    replica.machineIndex = index;
    this.#verdict.check(
      this.committedTerms[index] === term,
      "only what is committed is applied",
      () => `${replica.name} applies entry ${index} of term ${term}`,
    );
    const known = this.#applied.get(index);
    if (known === undefined) this.#applied.set(index, outcome);
    else {
      this.#verdict.check(
        known === outcome,
        "all machines do the same",
        () => `${replica.name} applies entry ${index} with another result than others`,
      );
    }
  }

  // -------------------------------------------------------------------------------------------
  // Configurations

  /** Whoever has applied a change has the same configuration from it on. */
  #configured(
    replica: ReplicaWatch,
    { configuration }: Status,
    index: number,
    source: "entry" | "snapshot",
  ): void {
    if (configuration.voters.length === 0) return;
    const text = JSON.stringify(configuration);
    const list = this.#configurations;
    const known = list.findLast((one) =>
      source === "entry" ? one.index === index : one.index <= index
    );
    if (known !== undefined) {
      this.#verdict.check(
        known.text === text,
        "configurations are the same everywhere",
        () => `${replica.name} has ${text} at entry ${index}, others ${known.text}`,
      );
      return;
    }
    const last = list.at(-1);
    list.push({ index, configuration, text });
    if (isJoint(configuration)) this.#mark("joint configuration");
    if (last === undefined) return;
    this.#verdict.check(
      index > last.index && overlap(last.configuration, configuration),
      "consecutive configurations overlap",
      () => `${last.text} at ${last.index}, then ${text} at ${index}`,
    );
    this.#markChange(last.configuration, configuration);
  }

  #markChange(from: Configuration, to: Configuration): void {
    const gone = [...from.voters, ...from.learners, ...from.votersOutgoing].some((id) =>
      ![...to.voters, ...to.votersOutgoing, ...to.learners, ...to.learnersNext].includes(id)
    );
    if (gone) this.#mark("removed replica");
    if (to.voters.some((id) => from.learners.includes(id))) this.#mark("learner promoted");
    if (to.learners.some((id) => !from.learners.includes(id))) this.#mark("learner added");
  }

  #markStatus(replica: ReplicaWatch, status: Status): void {
    const news = replica.news(status);
    if (news.snapshotsRestored !== undefined) this.#mark("snapshot install");
    if (news.resignedWithoutQuorum !== undefined) this.#mark("check-quorum resignation");
    if (news.resignedForDisk !== undefined) this.#mark("disk-stall resignation");
    if (news.votesIgnoredInLease !== undefined) this.#mark("vote ignored in a lease");
    if (news.transfersAborted !== undefined) this.#mark("transfer aborted");
    if (news.steppedDownRemoved !== undefined) this.#mark("removed leader stepped down");
    if (news.autoLeaves !== undefined) this.#mark("joint configuration left by itself");
    this.#verdict.check(
      news.messagesInvalid === undefined,
      "replicas say nothing that cannot be true",
      () => `${replica.name} got a message that cannot be true`,
    );
  }
}

/** Two quorums, one of each configuration, always have a replica in common. */
function overlap(from: Configuration, to: Configuration): boolean {
  if (isJoint(from) || isJoint(to)) {
    // A joint configuration decides with both halves: one of them must be the other's voters.
    const halves = (one: Configuration) =>
      isJoint(one) ? [one.voters, one.votersOutgoing] : [one.voters];
    return halves(from).some((a) => halves(to).some((b) => a.join() === b.join()));
  }
  const changed = [
    ...from.voters.filter((id) => !to.voters.includes(id)),
    ...to.voters.filter((id) => !from.voters.includes(id)),
  ];
  return changed.length <= 1;
}

function differenceOf(expected: DurableLog, found: DurableLog): string | undefined {
  for (const [id, group] of expected.groups) {
    const other = found.groups.get(id);
    if (other === undefined) return `group ${id} is gone`;
    const difference = group.difference(other);
    if (difference !== undefined) return `expected and found: ${difference}`;
  }
  return undefined;
}
