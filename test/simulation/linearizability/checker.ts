/**
 * Whether a history of concurrent calls could have been the work of one object that does one thing
 * at a time (Herlihy and Wing, "Linearizability", 1990). The search is Wing and Gong's with the
 * memory of Lowe ("Testing for linearizability", 2017): operations are put in an order one by one,
 * as their real-time order allows, and a set of operations that led to a state is tried once.
 */

/** One call of one client. Times are of one clock, and intervals include both of their ends. */
export interface Operation<Input, Output> {
  /** Its place in the history, for people. */
  readonly id: number;
  readonly client: string;
  readonly input: Input;
  /** Undefined: its client never learned whether it happened, so it may, at any time after `call`. */
  readonly output: Output | undefined;
  readonly call: number;
  /** Infinity without an output, and where nobody knows. */
  readonly end: number;
  /**
   * Only without an output: operations with the same label have effects that nobody in this history
   * can tell apart, so that of several it is enough to try the one that was called first.
   */
  readonly alike?: string;
  /**
   * Where one with an output stands in the order, as far as answers tell: whoever has a smaller
   * number comes before whoever has a larger one. This decides nothing that the model would not
   * decide; it is what makes long histories quick.
   */
  readonly rank?: number;
  /** What it changes; with {@link Model.open} it says where one without an output can matter. */
  readonly changes?: readonly string[];
  /** What decides over its effect, where it is conditional. */
  readonly depends?: readonly string[];
  /**
   * What may have to be changed before it, because it changes several things at once: who waits for
   * one of them takes the others along.
   */
  readonly drags?: readonly string[];
}

/** A sequential object. States are never changed. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * The state afterwards; undefined when the object in this state would not have answered so. Without
   * an output, undefined means that the operation changes nothing here, or cannot come before the
   * one of rank `next`.
   */
  step(
    state: State,
    input: Input,
    output: Output | undefined,
    next: number,
  ): State | undefined;
  /** Equal for states that no operation tells apart. */
  key(state: State): string;
  /**
   * For an operation with an output: what may have changed unseen right before it, as far as its
   * answer can tell. Undefined: nothing that went unseen makes it answer so in this state.
   */
  open?(state: State, input: Input, output: Output): readonly string[] | undefined;
  /** Everything that changes what an operation may look at, whether its answer shows it or not. */
  touched?(input: Input): readonly string[];
}

/** The longest order that was found, for people to see where it ends. */
export interface Frontier<State, Input, Output> {
  readonly order: readonly Operation<Input, Output>[];
  readonly state: State;
}

export type Verdict<State, Input, Output> =
  | { readonly kind: "linearizable"; readonly order: readonly Operation<Input, Output>[] }
  | { readonly kind: "illegal"; readonly frontier: Frontier<State, Input, Output> }
  /** The search did not end within its bound, which is no success. */
  | { readonly kind: "unknown"; readonly steps: number };

/** Steps of the model before the search gives up. */
export const stepsMaxDefault = 2_000_000;

/** Where the search stands: what is in order already, and what may come next. */
interface Frame<State> {
  readonly state: State;
  /** The lowest rank that is still to come. */
  readonly rank: number;
  /** Operations that may come next, by number; those with an output come first. */
  readonly candidates: readonly number[];
  next: number;
}

export function checkHistory<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  stepsMax: number = stepsMaxDefault,
): Verdict<State, Input, Output> {
  // What is dragged along rarely decides, and leaving it out is quick. An order that is found so is
  // an order all the same.
  const quick = new Search(model, history, { stepsMax: stepsMax / 4, thorough: false }).run();
  if (quick.kind === "linearizable") return quick;
  if (quick.kind === "illegal" && history.every(({ drags }) => drags === undefined)) return quick;
  return new Search(model, history, { stepsMax, thorough: true }).run();
}

interface SearchOptions {
  readonly stepsMax: number;
  readonly thorough: boolean;
}

class Search<State, Input, Output> {
  readonly #model: Model<State, Input, Output>;
  /** By call. */
  readonly #operations: readonly Operation<Input, Output>[];
  readonly #options: SearchOptions;
  readonly #done: Uint8Array;
  /** Up to here everything is in order. */
  #first = 0;
  /** How many operations with an output are not in order yet. */
  #missing: number;
  /** Those with a rank, by rank, and how many of the first ones are in order. */
  readonly #ranked: readonly number[];
  /** Where an operation stands among them; -1 for others. */
  readonly #places: Int32Array;
  #rankedDone = 0;
  readonly #tried = new Set<string>();
  #steps = 0;
  readonly #order: number[] = [];
  #longest: { order: number[]; known: number; state: State };

  constructor(
    model: Model<State, Input, Output>,
    history: readonly Operation<Input, Output>[],
    options: SearchOptions,
  ) {
    this.#model = model;
    this.#operations = [...history].sort((a, b) => a.call - b.call || a.end - b.end || a.id - b.id);
    this.#options = options;
    this.#done = new Uint8Array(history.length);
    this.#missing = history.filter(({ output }) => output !== undefined).length;
    this.#longest = { order: [], known: 0, state: model.initial };
    const ranked = [...this.#operations.keys()].filter((at) =>
      this.#operations[at].rank !== undefined
    );
    this.#ranked = ranked.sort((a, b) => this.#operations[a].rank! - this.#operations[b].rank!);
    this.#places = new Int32Array(history.length).fill(-1);
    this.#ranked.forEach((at, place) => this.#places[at] = place);
  }

  run(): Verdict<State, Input, Output> {
    const known = this.#missing;
    const stack = [this.#frame(this.#model.initial)];
    while (this.#missing > 0) {
      const frame = stack[stack.length - 1];
      if (frame.next === frame.candidates.length) {
        // Nothing can come next: take back the last step.
        stack.pop();
        if (stack.length === 0) return this.#illegal();
        this.#takeBack();
        continue;
      }
      const at = frame.candidates[frame.next++];
      const { input, output } = this.#operations[at];
      if (++this.#steps > this.#options.stepsMax) {
        return { kind: "unknown", steps: this.#options.stepsMax };
      }
      const after = this.#model.step(frame.state, input, output, frame.rank);
      if (after === undefined) continue;
      this.#put(at);
      const memory = `${this.#doneText()} ${this.#model.key(after)}`;
      if (this.#tried.has(memory)) {
        this.#takeBack();
        continue;
      }
      this.#tried.add(memory);
      if (known - this.#missing > this.#longest.known) {
        this.#longest = { order: [...this.#order], known: known - this.#missing, state: after };
      }
      stack.push(this.#frame(after));
    }
    return { kind: "linearizable", order: this.#order.map((at) => this.#operations[at]) };
  }

  #illegal(): Verdict<State, Input, Output> {
    const { order, state } = this.#longest;
    return {
      kind: "illegal",
      frontier: { order: order.map((at) => this.#operations[at]), state },
    };
  }

  #put(at: number): void {
    this.#done[at] = 1;
    this.#order.push(at);
    if (this.#operations[at].output !== undefined) this.#missing--;
    while (this.#done[this.#first] === 1) this.#first++;
    const ranked = this.#ranked;
    while (this.#done[ranked[this.#rankedDone]] === 1) this.#rankedDone++;
  }

  #takeBack(): void {
    const at = this.#order.pop()!;
    this.#done[at] = 0;
    if (this.#operations[at].output !== undefined) this.#missing++;
    this.#first = Math.min(this.#first, at);
    const place = this.#places[at];
    if (place >= 0) this.#rankedDone = Math.min(this.#rankedDone, place);
  }

  /** What may come next: everything that was called before the first of the others had ended. */
  #frame(state: State): Frame<State> {
    const operations = this.#operations;
    let firstEnd = Infinity;
    for (let at = this.#first; at < operations.length && operations[at].call <= firstEnd; at++) {
      if (this.#done[at] === 0) firstEnd = Math.min(firstEnd, operations[at].end);
    }
    const lowest = this.#ranked[this.#rankedDone];
    const rankMax = lowest === undefined ? Infinity : operations[lowest].rank!;
    const known: number[] = [];
    const unknown: number[] = [];
    for (let at = this.#first; at < operations.length && operations[at].call <= firstEnd; at++) {
      if (this.#done[at] === 1) continue;
      if (operations[at].output === undefined) unknown.push(at);
      else if ((operations[at].rank ?? 0) <= rankMax) known.push(at);
    }
    const useful = this.#useful(state, known, unknown);
    const candidates = useful === undefined ? [] : [...known, ...useful];
    return { state, rank: rankMax, candidates, next: 0 };
  }

  /**
   * Of the operations without an output, those that what comes next, or one of them that does, would
   * notice. Undefined when nothing can come next at all.
   */
  #useful(
    state: State,
    known: readonly number[],
    unknown: readonly number[],
  ): readonly number[] | undefined {
    const operations = this.#operations;
    const open = this.#open(state, known);
    if (open === "nothing") return undefined;
    const touched = this.#touched(known);
    const labels = new Set<string>();
    const useful = new Set<number>();
    for (let before = -1; before !== useful.size;) {
      before = useful.size;
      for (const at of unknown) {
        const { alike, changes, depends, drags } = operations[at];
        if (useful.has(at) || (alike !== undefined && labels.has(alike))) continue;
        if (open !== "everything" && changes !== undefined) {
          const isSeen = changes.some((name) => open.has(name));
          // What changes several things cannot wait until the last of them is seen: what it does to
          // the others would come too late.
          const isOverdue = drags !== undefined && changes.some((name) => touched.has(name));
          if (!isSeen && !isOverdue) continue;
          depends?.forEach((name) => open.add(name));
          if (this.#options.thorough) drags?.forEach((name) => open.add(name));
        }
        if (alike !== undefined) labels.add(alike);
        useful.add(at);
      }
    }
    return [...useful];
  }

  /** What the operations that come next may look at; nothing in a quick search. */
  #touched(known: readonly number[]): ReadonlySet<string> {
    const touched = new Set<string>();
    if (!this.#options.thorough) return touched;
    for (const at of known) {
      this.#model.touched?.(this.#operations[at].input).forEach((name) => touched.add(name));
    }
    return touched;
  }

  /** What may change unseen before the operations that come next. */
  #open(state: State, known: readonly number[]): Set<string> | "everything" | "nothing" {
    const open = new Set<string>();
    let possible = known.length === 0;
    for (const at of known) {
      const { input, output, changes } = this.#operations[at];
      if (this.#model.open === undefined || changes === undefined) return "everything";
      const names = this.#model.open(state, input, output!);
      if (names === undefined) continue;
      possible = true;
      names.forEach((name) => open.add(name));
    }
    return possible ? open : "nothing";
  }

  /** Which operations are in order: the first ones, and then one by one. */
  #doneText(): string {
    let last = this.#operations.length;
    while (last > this.#first && this.#done[last - 1] === 0) last--;
    let text = `${this.#first}:`;
    let word = 0;
    for (let at = this.#first; at < last; at++) {
      const bit = (at - this.#first) & 15;
      if (this.#done[at] === 1) word |= 1 << bit;
      if (bit === 15) {
        text += String.fromCharCode(word);
        word = 0;
      }
    }
    return text + String.fromCharCode(word);
  }
}
