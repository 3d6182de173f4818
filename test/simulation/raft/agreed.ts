/**
 * The one history that all machines agreed on, entry by entry as the first of them applied it, and
 * what clients may believe of it.
 */
import { decodeText } from "../../../src/base/bytes.ts";
import { Xxh64 } from "../../../src/base/xxh64.ts";
import { decodeCommand } from "../../../src/kv/core/command_codec.ts";
import type { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import type { KvEvent, KvResult } from "../../../src/kv/core/result.ts";
import type { MachineEntry } from "../../../src/base/machine.ts";
import type { KvOperation } from "../linearizability/kv_model.ts";
import type { WatchEvent } from "../linearizability/watches.ts";
import type { History } from "./history.ts";
import type { LeaseBook } from "./lease_holder.ts";
import type { Mark } from "./marks.ts";
import type { Verdict } from "../seeds/verdict.ts";
import { nameOf } from "./workload.ts";

/** Who is told of what was agreed. */
export interface AgreedParts {
  readonly history: History;
  readonly leases: LeaseBook;
  mark(name: Mark): void;
}

export class Agreed {
  readonly #verdict: Verdict;
  readonly #parts: AgreedParts;
  /** In the order of their revisions. */
  readonly events: WatchEvent[] = [];
  /** When each revision was first applied anywhere. */
  readonly appliedMs: Map<number, number> = new Map();
  /** The newest entry that any machine has applied. */
  index = 0;
  revision = 1;
  /** The oldest revision that can be asked for. */
  compactRevision = 0;
  /** Values that were put, and at which revision. */
  readonly #put = new Map<string, number>();
  readonly #commands = new Set<string>();
  readonly #states = new Map<number, string>();

  constructor(verdict: Verdict, parts: AgreedParts) {
    this.#verdict = verdict;
    this.#parts = parts;
  }

  /** Right after a machine has applied an entry. */
  applied(machine: KvMachine, entry: MachineEntry, result: KvResult): void {
    if (entry.index <= this.index) return;
    this.index = entry.index;
    this.#command(entry, result);
    this.compactRevision = machine.compactRevision;
    if (machine.revision === this.revision) return;
    this.#verdict.check(
      machine.revision === this.revision + 1,
      "an entry makes one revision at most",
      () => `entry ${entry.index} goes from revision ${this.revision} to ${machine.revision}`,
    );
    this.revision = machine.revision;
    this.appliedMs.set(this.revision, this.#verdict.simulation.nowMs);
    for (const event of machine.eventsOf(this.revision)) {
      const seen = toWatchEvent(event);
      this.events.push(seen);
      if (seen.type === "put") this.#wasPut(seen);
    }
  }

  /** Exactly once: every value has one writer, who puts it once. */
  #wasPut({ key, value, revision }: WatchEvent): void {
    const before = this.#put.get(value);
    this.#verdict.check(
      before === undefined,
      "no command is applied twice",
      () => `${key}=${value} was put at revisions ${before} and ${revision}`,
    );
    this.#put.set(value, revision);
    const writer = this.#parts.history.writers.get(value);
    if (writer === undefined) return;
    this.#verdict.check(
      writer.outcome !== "refused",
      "what was refused never happens",
      () => `operation ${writer.id} was refused, and put ${key}=${value} at revision ${revision}`,
    );
  }

  #command({ data }: MachineEntry, result: KvResult): void {
    if (data.length === 0) return;
    const envelope = decodeCommand(data);
    if (typeof envelope === "string") return;
    const { command, session } = envelope;
    if (session !== undefined) {
      const key = `${session.session}/${session.sequence}`;
      if (this.#commands.has(key) && result.kind !== "failure") {
        this.#parts.mark("session retry deduplicated");
      }
      this.#commands.add(key);
    }
    const { leases } = this.#parts;
    if (command.kind === "leaseExpire") command.ids.forEach((id) => leases.expired(id));
    if (command.kind === "leaseRevoke") leases.ended(command.id);
    if (command.kind === "compact" && result.kind === "compact") this.#parts.mark("compaction");
  }

  /** Whole states at one entry are one state. */
  compareState(name: string, machine: KvMachine): void {
    const index = machine.appliedIndex;
    const hash = new Xxh64();
    const source = machine.snapshot();
    for (let piece = source.next(1 << 16); piece !== undefined; piece = source.next(1 << 16)) {
      hash.update(piece);
    }
    const digest = hash.digestHex();
    const known = this.#states.get(index);
    if (known === undefined) this.#states.set(index, digest);
    this.#verdict.check(
      known === undefined || known === digest,
      "all machines have the same state",
      () => `${name} has ${digest} at entry ${index}, others ${known}`,
    );
  }

  /** What clients were told, against what really happened. To be called at the end. */
  judgeHistory(): void {
    for (const [value, { id, outcome, failure }] of this.#parts.history.writers) {
      const revision = this.#put.get(value);
      this.#verdict.check(
        outcome !== "refused" || revision === undefined,
        "what was refused never happens",
        () => `operation ${id} was refused (${failure}), and put ${value} at revision ${revision}`,
      );
    }
    const byKey = new Map<string, WatchEvent[]>();
    for (const event of this.events) {
      const list = byKey.get(event.key) ?? [];
      byKey.set(event.key, list);
      list.push(event);
    }
    for (const operation of this.#parts.history.forChecker()) {
      this.#judgeWrites(operation);
      this.#judgeReads(operation, byKey);
    }
  }

  #judgeWrites({ id, input, output }: KvOperation): void {
    if (output === undefined || !output.succeeded) return;
    for (const action of input.success) {
      if (action.kind !== "put") continue;
      this.#verdict.check(
        this.#put.get(action.value) === output.revision,
        "nothing acknowledged is lost",
        () =>
          `operation ${id} put ${action.key}=${action.value} at revision ${output.revision}, ` +
          `which was done at ${this.#put.get(action.value)}`,
      );
    }
  }

  /** Who saw a key saw it as it was at the answer's revision, or right before its own change. */
  #judgeReads(operation: KvOperation, byKey: ReadonlyMap<string, readonly WatchEvent[]>): void {
    const { id, input, output } = operation;
    if (output === undefined) return;
    const actions = output.succeeded ? input.success : input.failure;
    const changes = actions.some(({ kind }, at) =>
      kind === "put" || (kind === "delete" && (output.actions[at]?.deleted ?? 0) > 0)
    );
    const until = changes ? output.revision - 1 : output.revision;
    actions.forEach((action, at) => {
      if (action.kind !== "get" && !action.previous) return;
      // What the same transaction put before is not in the events of earlier revisions.
      if (actions.slice(0, at).some(({ key, kind }) => key === action.key && kind !== "get")) {
        return;
      }
      const last = byKey.get(action.key)?.findLast(({ revision }) => revision <= until);
      const is = last?.type === "put" ? last : undefined;
      const entry = output.actions[at]?.entry;
      this.#verdict.check(
        entry?.value === is?.value && entry?.mod === is?.revision &&
          entry?.create === is?.create && entry?.version === is?.version,
        "what is read is what was agreed on",
        () =>
          `operation ${id} saw ${action.key}=${entry?.value} of ${entry?.mod} at revision ` +
          `${output.revision}; it was ${is?.value} of ${is?.revision}`,
      );
    });
  }
}

function toWatchEvent({ type, entry }: KvEvent): WatchEvent {
  return {
    revision: entry.modRevision,
    type,
    key: decodeText(entry.key) ?? "",
    value: type === "put" ? nameOf(decodeText(entry.value) ?? "") : "",
    create: entry.createRevision,
    version: entry.version,
  };
}
