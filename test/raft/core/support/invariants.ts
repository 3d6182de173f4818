/**
 * What must hold after every step, whatever fails (dissertation, figure 3.2 and chapter 4). An
 * omniscient observer: it sees every disk, and remembers every entry ever made.
 */
import { majorityIndex } from "../../../../src/raft/core/quorum.ts";
import type { Ready } from "../../../../src/raft/core/ready.ts";
import {
  type Configuration,
  type Entry,
  type Message,
  MessageType,
  type SnapshotMeta,
} from "../../../../src/raft/core/types.ts";
import { chain, type Host, type Observer } from "./host.ts";

/** An invariant does not hold. */
export class Violation extends Error {
  override name = "Violation";
}

function check(holds: boolean, say: () => string): void {
  if (!holds) throw new Violation(say());
}

interface Seen {
  term: number;
  commit: number;
  applied: number;
}

export class Invariants implements Observer {
  readonly hosts = new Map<number, Host>();
  readonly #leaders = new Map<number, number>();
  /** Every entry ever made, by index and term: its hash and the term before it. */
  readonly #entries = new Map<string, { readonly hash: number; readonly before: number }>();
  /** Terms of the committed entries, by index. */
  readonly committedTerms: number[] = [0, 1];
  readonly #appliedHashes = new Map<number, number>([[1, 0]]);
  readonly #configurations = new Map<number, string>();
  readonly #grants = new Map<string, number>();
  readonly #durableVotes = new Map<string, number>();
  readonly #durableTerms = new Map<number, number>();
  readonly #seen = new Map<number, Seen>();
  /** Where messages go. */
  deliver: (message: Message) => void = () => {};

  get committed(): number {
    return this.committedTerms.length - 1;
  }

  leaderOf(term: number): number | undefined {
    return this.#leaders.get(term);
  }

  started(host: Host): void {
    this.hosts.set(host.id, host);
    const { hardState, snapshot } = host.disk;
    this.#seen.set(host.id, {
      term: hardState.term,
      commit: Math.max(hardState.commit, snapshot.index),
      applied: snapshot.index,
    });
  }

  /** What is sent must already be true on the disk. */
  sent(host: Host, message: Message): void {
    const { disk } = host;
    if (message.type === MessageType.appendResponse && !message.reject) {
      check(
        // A batch of a newer term may have replaced it by now, in the same report of the disk: that is
        // as if the acknowledgement had been on its way for long.
        host.diskLastIndex >= message.index || disk.hardState.term > message.term,
        () => `${host.id} acknowledges ${message.index} but has ${host.diskLastIndex} on disk`,
      );
    }
    if (message.type === MessageType.voteResponse && !message.reject) {
      const key = `${host.id}/${message.term}`;
      const before = this.#grants.get(key);
      check(
        before === undefined || before === message.to,
        () => `${host.id} votes for ${before} and ${message.to} in term ${message.term}`,
      );
      this.#grants.set(key, message.to);
      check(
        disk.hardState.term > message.term ||
          (disk.hardState.term === message.term && disk.hardState.vote === message.to),
        () => `${host.id} sends a vote in term ${message.term} that is not on disk`,
      );
    }
    if (message.type === MessageType.vote) {
      check(
        disk.hardState.term >= message.term,
        () => `${host.id} asks for votes in term ${message.term}, which is not on disk`,
      );
    }
    if (message.type === MessageType.heartbeat) {
      const to = this.hosts.get(message.to);
      check(
        to === undefined || message.term < to.disk.hardState.term ||
          message.commit <= Math.max(to.diskLastIndex, to.disk.snapshot.index),
        () => `${host.id} tells ${message.to} to commit ${message.commit}, which it does not have`,
      );
    }
    this.deliver(message);
  }

  /** Log matching, by induction: whoever has an entry has the same one, after the same term. */
  handed(host: Host, ready: Ready): void {
    for (const entry of ready.entries) {
      const key = `${entry.index}/${entry.term}`;
      const before = this.#termBefore(host, ready, entry);
      const hash = chain(0, entry);
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, { hash, before });
      else {
        check(
          known.hash === hash && known.before === before,
          () => `${host.id} has another entry ${key} than somebody else`,
        );
      }
    }
  }

  #termBefore(host: Host, ready: Ready, entry: Entry): number {
    const at = entry.index - ready.entries[0].index;
    if (at > 0) return ready.entries[at - 1].term;
    // The entry before this batch is in an earlier batch, on disk or on its way there.
    for (let write = host.writes.length - 1; write >= 0; write--) {
      const { entries, snapshot } = host.writes[write];
      const found = entries.find(({ index }) => index === entry.index - 1);
      if (found !== undefined) return found.term;
      if (snapshot?.index === entry.index - 1) return snapshot.term;
    }
    if (ready.snapshot?.index === entry.index - 1) return ready.snapshot.term;
    return host.diskTerm(entry.index - 1) ?? -1;
  }

  /** One vote a term, and no way back. */
  durable(host: Host): void {
    const { term, vote } = host.disk.hardState;
    check(
      term >= (this.#durableTerms.get(host.id) ?? 0),
      () => `the term of ${host.id} goes back to ${term} on disk`,
    );
    this.#durableTerms.set(host.id, term);
    const key = `${host.id}/${term}`;
    const before = this.#durableVotes.get(key) ?? 0;
    check(before === 0 || before === vote, () => `${host.id} changes its vote in term ${term}`);
    this.#durableVotes.set(key, vote);
  }

  /** State machine safety. */
  applied(host: Host, entry: Entry): void {
    check(
      entry.index <= this.committed && this.committedTerms[entry.index] === entry.term,
      () => `${host.id} applies ${entry.index} of term ${entry.term}, which is not committed`,
    );
    const known = this.#appliedHashes.get(entry.index);
    if (known === undefined) this.#appliedHashes.set(entry.index, host.machine.hash);
    else {
      check(
        known === host.machine.hash,
        () => `${host.id} applies something else at ${entry.index} than others`,
      );
    }
  }

  restored(host: Host, snapshot: SnapshotMeta): void {
    check(
      this.#appliedHashes.get(snapshot.index) === host.machine.hash,
      () => `${host.id} restores another state at ${snapshot.index} than others`,
    );
    check(
      this.committedTerms[snapshot.index] === snapshot.term,
      () => `${host.id} restores what was never committed`,
    );
  }

  /** Roles, terms, indexes and configurations after a step. */
  stepped(host: Host): void {
    const status = host.status;
    const seen = this.#seen.get(host.id)!;
    check(status.term >= seen.term, () => `the term of ${host.id} goes back`);
    check(status.committed >= seen.commit, () => `the commit index of ${host.id} goes back`);
    check(status.applied >= seen.applied, () => `the applied index of ${host.id} goes back`);
    check(
      status.applied <= status.committed && status.committed <= status.lastIndex &&
        status.stableIndex <= status.lastIndex &&
        // What is gone is applied and durable; a leader's snapshot is restored and written yet.
        status.firstIndex - 1 <=
          Math.max(status.snapshotIndex, Math.min(status.applied, status.stableIndex)),
      () => `the indexes of ${host.id} are out of order`,
    );
    if (status.role === "leader") this.#leads(host, status.term, seen);
    if (status.committed > seen.commit) {
      // It may have resigned in the same step.
      const isLeader = this.#leaders.get(status.term) === host.id;
      this.#commits(host, seen.commit, status.committed, isLeader);
    }
    this.#configured(host, status.configuration);
    seen.term = status.term;
    seen.commit = status.committed;
    seen.applied = status.applied;
  }

  /** One leader a term, that has everything committed before. */
  #leads(host: Host, term: number, seen: Seen): void {
    const known = this.#leaders.get(term);
    check(
      known === undefined || known === host.id,
      () => `${known} and ${host.id} lead in term ${term}`,
    );
    if (known !== undefined) return;
    this.#leaders.set(term, host.id);
    check(
      host.disk.hardState.term === term && host.disk.hardState.vote === host.id,
      () => `${host.id} leads in term ${term} without its own vote on disk`,
    );
    for (let index = this.committed; index > seen.commit; index--) {
      const own = this.#memoryTerm(host, index);
      check(
        own === this.committedTerms[index],
        () => `${host.id} leads in term ${term} without ${index}, which is committed`,
      );
    }
  }

  /** A leader commits what is durable on the quorum of its configuration; others follow. */
  #commits(host: Host, from: number, to: number, isLeader: boolean): void {
    if (isLeader && to > this.committed) this.#onQuorum(host, to);
    for (let index = from + 1; index <= to; index++) {
      const term = this.#memoryTerm(host, index);
      // Compacted entries came with a snapshot, which is checked when it is restored.
      if (term === undefined) continue;
      if (index < this.committedTerms.length) {
        check(
          this.committedTerms[index] === term,
          () => `${host.id} commits ${index} of term ${term}, others of another`,
        );
      } else {
        check(isLeader, () => `${host.id} commits ${index} before any leader does`);
        this.committedTerms.push(term);
      }
    }
  }

  #onQuorum(host: Host, index: number): void {
    const term = this.#memoryTerm(host, index);
    const { configuration } = host.status;
    const has = (id: number): number => this.hosts.get(id)?.diskTerm(index) === term ? 1 : 0;
    check(
      majorityIndex(configuration.voters, has) >= 1 &&
        majorityIndex(configuration.votersOutgoing, has) >= 1,
      () => `${host.id} commits ${index}, which is not durable on a quorum`,
    );
    check(
      term === host.status.term,
      () => `${host.id} commits ${index} of the older term ${term} by counting`,
    );
  }

  /** What a running replica's log holds: its disk, and what is on its way there. */
  #memoryTerm(host: Host, index: number): number | undefined {
    for (let write = host.writes.length - 1; write >= 0; write--) {
      const { entries, snapshot } = host.writes[write];
      if (entries.length > 0 && entries[0].index <= index) {
        const found = entries[index - entries[0].index];
        // A batch that overwrites ends the log as far as older ones go.
        return found?.term;
      }
      if (snapshot !== undefined) return index === snapshot.index ? snapshot.term : undefined;
    }
    return host.diskTerm(index);
  }

  /** Whoever has applied a change has the same configuration from it on. */
  #configured(host: Host, configuration: Configuration): void {
    if (host.work.some(({ kind }) => kind === "snapshot")) return;
    const { index } = host.node.snapshotMeta(host.status.applied);
    // Who joins knows nothing yet.
    if (index === 0 && configuration.voters.length === 0) return;
    const text = JSON.stringify(configuration);
    const known = this.#configurations.get(index);
    if (known === undefined) this.#configurations.set(index, text);
    else check(known === text, () => `${host.id} has another configuration at ${index}`);
  }
}
