/** Views as programs see them: the present one first, then what changed from one to the next. */
import type { Subscription } from "../runtime/port.ts";
import type { Configuration } from "./core/configuration.ts";
import type { Member } from "./core/member.ts";

export interface View {
  /** Rises by one from view to view, and by more where a node missed some. */
  readonly epoch: number;
  /** 64 bits: two nodes with the same number and digest have had the same views. */
  readonly digest: bigint;
  /** Ascending by address. */
  readonly members: readonly Member[];
}

/** A view, and how it came from the one that the reader had before. */
export interface ViewChange extends View {
  readonly joined: readonly Member[];
  /** Those that are gone, because they left, were sent away, or did not answer. */
  readonly left: readonly Member[];
  /** Those that stay and say something else of themselves now. */
  readonly changed: readonly Member[];
  /** Views that the reader was too slow for: what changed in them is in `joined` and `left`. */
  readonly skipped: number;
}

/** `said`: the stays of those who say something else of themselves; undefined for another view. */
export type ViewListener = (view: View, said: ReadonlySet<bigint> | undefined) => void;

export class ViewFeed {
  #present: Configuration | undefined = undefined;
  readonly #readers = new Set<() => void>();
  readonly #listeners = new Set<ViewListener>();
  /** What each reader was not told yet of what members say of themselves: their incarnations. */
  readonly #unread = new Set<Set<bigint>>();
  #isClosed = false;
  /** Views that were there, one after the other. */
  #count = 0;

  /** Undefined before the first one. */
  get present(): View | undefined {
    return this.#present;
  }

  /** A member of the present view. */
  memberAt(address: string): Member | undefined {
    return this.#present?.memberAt(address);
  }

  show(configuration: Configuration): void {
    this.#present = configuration;
    this.#count++;
    for (const wake of this.#readers) wake();
    for (const listener of this.#listeners) listener(configuration, undefined);
  }

  /** These say something else of themselves now. */
  told(incarnations: ReadonlySet<bigint>): void {
    for (const unread of this.#unread) {
      for (const incarnation of incarnations) unread.add(incarnation);
    }
    for (const wake of this.#readers) wake();
    if (this.#present === undefined) return;
    for (const listener of this.#listeners) listener(this.#present, incarnations);
  }

  /** Called with each view, the present one first, and when members say something else. */
  observe(listener: ViewListener): Subscription {
    this.#listeners.add(listener);
    if (this.#present !== undefined) listener(this.#present, undefined);
    return { cancel: () => void this.#listeners.delete(listener) };
  }

  close(): void {
    this.#isClosed = true;
    for (const wake of this.#readers) wake();
  }

  /** Ends with the node, or with the signal. A slow reader gets the newest view, not all of them. */
  async *read(signal?: AbortSignal): AsyncGenerator<ViewChange, void, undefined> {
    let before: Configuration | undefined;
    let count = 0;
    const unread = new Set<bigint>();
    this.#unread.add(unread);
    try {
      for (;;) {
        if (this.#isClosed || signal?.aborted === true) return;
        const present = this.#present;
        if (present === undefined || (present === before && unread.size === 0)) {
          await this.#change(signal);
          continue;
        }
        const skipped = before === undefined ? 0 : Math.max(0, this.#count - count - 1);
        const change = changeOf(before, present, { skipped, told: new Set(unread) });
        unread.clear();
        before = present;
        count = this.#count;
        yield change;
      }
    } finally {
      this.#unread.delete(unread);
    }
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#readers.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      this.#readers.add(wake);
      signal?.addEventListener("abort", wake);
    });
  }
}

function changeOf(
  before: Configuration | undefined,
  { epoch, digest, members }: Configuration,
  { skipped, told }: { readonly skipped: number; readonly told: ReadonlySet<bigint> },
): ViewChange {
  const stays = (list: readonly Member[] | undefined): Set<bigint> =>
    new Set(list?.map(({ incarnation }) => incarnation));
  const old = stays(before?.members);
  const present = stays(members);
  return {
    epoch,
    digest,
    members,
    joined: members.filter(({ incarnation }) => !old.has(incarnation)),
    left: before?.members.filter(({ incarnation }) => !present.has(incarnation)) ?? [],
    changed: members.filter(({ incarnation }) => old.has(incarnation) && told.has(incarnation)),
    skipped,
  };
}
