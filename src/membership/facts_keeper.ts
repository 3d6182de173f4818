/** What members say of themselves, over the stays of this node: see the core's {@link FactsTable}. */
import { Code, CoveyError } from "../base/error.ts";
import { type FactsMessage, FactsTable } from "./core/facts.ts";
import type { Member } from "./core/member.ts";
import { fitsMetadata } from "./wire.ts";

export class FactsKeeper {
  /** What this node says of itself whatever its stay. */
  readonly #own = new Map<string, Uint8Array>();
  /** Undefined while it is no member. */
  #table: FactsTable | undefined = undefined;

  get dueMs(): number {
    return this.#table?.dueMs ?? Infinity;
  }

  of({ incarnation }: Member): ReadonlyMap<string, Uint8Array> {
    return this.#table?.of(incarnation) ?? new Map();
  }

  /** Throws `resource_exhausted` when it is more than a member may say. */
  say(key: string, value: Uint8Array | undefined): void {
    const changed = new Map(this.#own);
    if (value !== undefined) changed.set(key, value);
    if (!fitsMetadata([...changed])) {
      throw new CoveyError(Code.resourceExhausted, "a member may say 4 KiB of itself in 32 keys");
    }
    if (value === undefined) this.#own.delete(key);
    else this.#own.set(key, value);
    this.#table?.set(key, value);
  }

  /** Another stay begins. */
  begin(incarnation: bigint): void {
    this.#table = new FactsTable(incarnation);
    for (const [key, value] of this.#own) this.#table.set(key, value);
  }

  end(): void {
    this.#table = undefined;
  }

  install(members: readonly Member[]): void {
    this.#table?.install(members.map(({ incarnation }) => incarnation));
  }

  unlink(address: string): void {
    this.#table?.unlink(address);
  }

  receive(from: string, message: FactsMessage): void {
    this.#table?.receive(from, message);
  }

  /** Tells `told` what they do not know; gives of whom something new is known. */
  passOn(
    told: readonly string[],
    nowMs: number,
    tell: (to: string, message: FactsMessage) => void,
  ): ReadonlySet<bigint> {
    const table = this.#table;
    if (table === undefined) return nobody;
    table.link(told);
    for (const { to, message } of table.take(nowMs)) tell(to, message);
    return table.takeChanged();
  }
}

const nobody: ReadonlySet<bigint> = new Set();
