/**
 * Counts how often each fault fired and each marked state was reached, over one run or many, so
 * that a test that never got where it wanted to be fails instead of passing for nothing.
 */
import { SimulationError } from "./error.ts";
import { type FaultKind, faultKinds } from "./faults.ts";

export interface CoverageReport {
  readonly faults: Readonly<Record<string, number>>;
  readonly marks: Readonly<Record<string, number>>;
}

export class Coverage {
  readonly #faults = new Map<string, number>();
  readonly #marks = new Map<string, number>();

  /** `marks` are the states that must be reached; they count from zero. */
  constructor(marks: readonly string[] = []) {
    for (const kind of faultKinds) this.#faults.set(kind, 0);
    for (const name of marks) this.#marks.set(name, 0);
  }

  fault(kind: FaultKind): void {
    this.#faults.set(kind, this.#faults.get(kind)! + 1);
  }

  mark(name: string): void {
    this.#marks.set(name, (this.#marks.get(name) ?? 0) + 1);
  }

  /** Times a fault fired or a mark was reached. */
  count(name: string): number {
    return this.#faults.get(name) ?? this.#marks.get(name) ?? 0;
  }

  report(): CoverageReport {
    return { faults: sorted(this.#faults), marks: sorted(this.#marks) };
  }

  /** Adds another run's counts. */
  add(other: CoverageReport): void {
    for (const [name, count] of Object.entries(other.faults)) {
      this.#faults.set(name, (this.#faults.get(name) ?? 0) + count);
    }
    for (const [name, count] of Object.entries(other.marks)) {
      this.#marks.set(name, (this.#marks.get(name) ?? 0) + count);
    }
  }

  /** Throws `coverage` when one of these faults, or any mark at all, has a zero. */
  assertCovered(faults: readonly FaultKind[]): void {
    const zeros = faults.filter((kind) => this.count(kind) === 0).map((kind) => `fault ${kind}`);
    for (const [name, count] of this.#marks) if (count === 0) zeros.push(`mark ${name}`);
    if (zeros.length === 0) return;
    throw new SimulationError("coverage", `never happened: ${zeros.join(", ")}`);
  }

  /** One line per name with its count, for the end of a run. */
  toString(): string {
    const lines: string[] = [];
    for (const [name, count] of sortedEntries(this.#faults)) lines.push(`fault ${name} ${count}`);
    for (const [name, count] of sortedEntries(this.#marks)) lines.push(`mark ${name} ${count}`);
    return lines.join("\n");
  }
}

function sortedEntries(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries(sortedEntries(counts));
}
