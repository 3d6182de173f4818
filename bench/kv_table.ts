/** The rows of the key-value table, and how figures are written. */
export interface Row {
  readonly measure: string;
  readonly covey: string;
  readonly etcd: string;
  readonly ratio: string;
  readonly reach: string;
}

/** The heads of the table's columns. */
export const columns: readonly string[] = ["measure", "covey", "etcd", "ratio", "to reach"];

export function cellsOf(row: Row): string[] {
  return [row.measure, row.covey, row.etcd, row.ratio, row.reach];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Round by round; rounds in which one side has nothing do not count. */
export function medianRatio(ours: readonly number[], theirs: readonly number[]): string {
  const rounds = Math.min(ours.length, theirs.length);
  if (rounds === 0) return "";
  const ratio = median(ours.slice(0, rounds).map((value, index) => value / theirs[index]));
  return `${ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(1)}×`;
}

export function perSecond(value: number): string {
  return `${value >= 10_000 ? `${(value / 1000).toFixed(1)}k` : Math.round(value)}/s`;
}

export function milliseconds(value: number): string {
  return value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0);
}

export function megabytes(kilobytes: number): string {
  return `${(kilobytes / 1024).toFixed(0)} MB`;
}
