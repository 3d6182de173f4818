/** How often each fault fired and each state was reached, over all seeds. */
export class Reach {
  readonly #counts = new Map<string, number>();

  add(what: string, count = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
  }

  get(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** Which of these never happened. */
  missing(names: readonly string[]): string[] {
    return names.filter((name) => this.get(name) === 0);
  }

  toString(): string {
    return [...this.#counts].sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, count]) => `${name} ${count}`).join(", ");
  }
}
