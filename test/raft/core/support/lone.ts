/** One replica; its peers are played by the test. Its log goes on after the founding entry, 1. */
import assert from "node:assert/strict";
import { encodeText } from "../../../../src/base/bytes.ts";
import { Prng } from "../../../../src/base/prng.ts";
import { makeConfiguration } from "../../../../src/raft/core/configuration.ts";
import { foundingIndex, foundingTerm } from "../../../../src/raft/core/founding.ts";
import { makeMessage, type MessageFields } from "../../../../src/raft/core/messages.ts";
import { RaftNode } from "../../../../src/raft/core/node.ts";
import type { Options } from "../../../../src/raft/core/options.ts";
import type { ProposeResult } from "../../../../src/raft/core/proposals.ts";
import type { MemberStatus, Status } from "../../../../src/raft/core/status.ts";
import {
  type Configuration,
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  type ReplicaId,
  type SingleChange,
  type Term,
  Transition,
} from "../../../../src/raft/core/types.ts";

export const index = (value: number): LogIndex => value as LogIndex;
export const term = (value: number): Term => value as Term;

/** Empty entries of these terms, one after the other. */
export function entriesOf(first: number, ...terms: number[]): Entry[] {
  return terms.map((one, at) => ({
    term: term(one),
    index: index(first + at),
    type: EntryType.normal,
    data: new Uint8Array(0),
  }));
}

export interface LoneOptions {
  readonly id?: ReplicaId;
  readonly voters?: readonly ReplicaId[];
  readonly learners?: readonly ReplicaId[];
  /** Of the log's entries from 2 on. */
  readonly terms?: readonly number[];
  readonly term?: number;
  readonly vote?: ReplicaId;
  readonly commit?: number;
  readonly options?: Partial<Options>;
  readonly seed?: number;
}

export class Lone {
  readonly node: RaftNode;
  readonly id: ReplicaId;
  /** Committed entries that were handed out, in order. */
  readonly committed: Entry[] = [];
  /** While true nothing is reported as applied. */
  machineStalls = false;
  /** While true nothing is reported as durable. */
  diskStalls = false;
  #batch = 0;
  #applied = 0;

  constructor(given: LoneOptions = {}) {
    this.id = given.id ?? 1;
    const voters = given.voters ?? [1, 2, 3];
    const configuration = makeConfiguration(voters, given.learners ?? []);
    const terms = given.terms ?? [];
    const lastTerm = terms.length > 0 ? terms[terms.length - 1] : foundingTerm;
    this.node = new RaftNode(
      { id: this.id, ...given.options },
      {
        hardState: {
          term: term(given.term ?? lastTerm),
          vote: given.vote ?? 0,
          commit: index(given.commit ?? foundingIndex),
        },
        snapshot: { index: foundingIndex, term: foundingTerm, configuration },
        entries: entriesOf(2, ...terms),
      },
      new Prng(given.seed ?? 1),
    );
  }

  get status(): Status {
    return this.node.status();
  }

  member(id: ReplicaId): MemberStatus {
    const found = this.status.members.find((member) => member.id === id);
    assert.ok(found !== undefined, `${id} is a member that this leader knows`);
    return found;
  }

  /** The log's terms from 2 on. */
  get terms(): number[] {
    const { firstIndex, lastIndex } = this.status;
    const entries = this.node.committedFrom(firstIndex, Infinity, lastIndex);
    assert.ok(entries !== "compacted");
    return entries.map((entry) => entry.term);
  }

  /** From somebody, in this replica's term unless another is given. */
  hear(type: MessageType, from: ReplicaId, fields: Partial<MessageFields> = {}): void {
    const own = type === MessageType.propose || type === MessageType.readIndex
      ? term(0)
      : this.status.term;
    this.node.step(makeMessage(from, { term: own, ...fields, type, to: this.id }));
  }

  propose(...texts: string[]): ProposeResult {
    return this.node.propose(texts.map((text) => encodeText(text)));
  }

  change(changes: readonly SingleChange[], transition: Transition = Transition.auto) {
    return this.node.changeConfiguration({ transition, changes, context: new Uint8Array(0) });
  }

  get configuration(): Configuration {
    return this.status.configuration;
  }

  tick(count: number): void {
    for (let at = 0; at < count; at++) this.node.tick();
  }

  /** What it sends until nothing is left to do; disk and machine follow unless they stall. */
  sent(): Message[] {
    const all: Message[] = [];
    while (this.node.hasReady()) {
      const ready = this.node.ready();
      this.#batch = ready.batch;
      all.push(...ready.messages, ...ready.afterSync);
      this.committed.push(...ready.committed);
      if (ready.snapshot !== undefined) this.#applied = ready.snapshot.index;
      if (ready.committed.length > 0) {
        this.#applied = ready.committed[ready.committed.length - 1].index;
      }
      if (!this.diskStalls) this.node.persisted(this.#batch);
      if (!this.machineStalls) this.reportApplied();
    }
    return all;
  }

  /** The disk has everything, also while it stalls. */
  reportDurable(): void {
    this.node.persisted(this.#batch);
  }

  /** The machine has applied everything, also while it stalls. */
  reportApplied(): void {
    if (this.#applied > this.status.applied || this.#isRestoring()) {
      this.node.applied(index(this.#applied));
    }
  }

  #isRestoring(): boolean {
    return this.#applied > 0 && this.#applied === this.status.snapshotIndex &&
      this.status.applied < this.#applied;
  }

  /** What it sends, of one type. */
  sentOf(type: MessageType): Message[] {
    return this.sent().filter((message) => message.type === type);
  }

  /** Becomes leader by everybody's votes; what it sent is thrown away. */
  lead(): this {
    this.node.campaign();
    this.sent();
    for (const answer of [MessageType.preVoteResponse, MessageType.voteResponse]) {
      for (const id of this.configuration.voters) {
        const { role } = this.status;
        const isAsked = answer === MessageType.preVoteResponse
          ? role === "preCandidate"
          : role === "candidate";
        const raised = answer === MessageType.preVoteResponse ? 1 : 0;
        if (id === this.id || !isAsked) continue;
        this.hear(answer, id, { term: term(this.status.term + raised) });
        this.sent();
      }
    }
    assert.equal(this.status.role, "leader");
    return this;
  }

  /** These have acknowledged everything; what follows from that is thrown away. */
  acknowledgeAll(...ids: ReplicaId[]): this {
    const { lastIndex } = this.status;
    for (const id of ids) this.hear(MessageType.appendResponse, id, { index: lastIndex });
    this.sent();
    return this;
  }
}
