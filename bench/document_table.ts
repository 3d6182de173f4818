/** A table that a benchmark writes into a document, between its markers. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url).href);

/** Rows are known by their first cell. */
export class DocumentTable {
  readonly #columns: readonly string[];
  readonly #rows: Map<string, readonly string[]> = new Map();

  constructor(columns: readonly string[]) {
    this.#columns = columns;
  }

  /** Adds a row and gives it as a line. */
  add(cells: readonly string[]): string {
    this.#rows.set(cells[0], cells);
    return line(cells);
  }

  text(): string {
    return this.#text([...this.#rows.values()]);
  }

  /**
   * Puts the table between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`. Rows that this run did
   * not measure stay as they are, in the order of `order`; those that are not in it any more go.
   */
  write(path: string, name: string, order: readonly string[], note: string): void {
    const document = readFileSync(path, "utf8");
    const between = new RegExp(`(<!-- bench:${name} -->\\n)([\\s\\S]*?)(<!-- /bench:${name} -->)`);
    const found = between.exec(document);
    if (found === null) throw new Error(`${path} has no bench:${name} markers`);
    const rows = new Map<string, readonly string[]>();
    for (const one of found[2].split("\n")) {
      const cells = one.split("|").slice(1, -1).map((cell) => cell.trim());
      if (cells.length === this.#columns.length) rows.set(cells[0], cells);
    }
    for (const [key, cells] of this.#rows) rows.set(key, cells);
    const kept = order.flatMap((key) => rows.has(key) ? [rows.get(key)!] : []);
    const text = `\n${this.#text(kept)}\n\n${note}\n\n`;
    writeFileSync(
      path,
      document.replace(between, (_, open, __, close) => `${open}${text}${close}`),
    );
    // The formatter aligns the columns; the test command would find it otherwise.
    spawnSync(join(root, "node_modules", ".bin", "deno"), ["fmt", "--quiet", path]);
  }

  #text(rows: readonly (readonly string[])[]): string {
    return [line(this.#columns), line(this.#columns.map(() => "---")), ...rows.map(line)].join(
      "\n",
    );
  }
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
