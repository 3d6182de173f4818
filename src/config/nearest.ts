/** "Did you mean": the nearest of the known names. */

/**
 * Edits between two names: insert, remove, replace, and swap of two neighbours, each counted once
 * (optimal string alignment). Names are short, so the square table is fine.
 */
export function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let column = 0; column < width; column++) table[column] = column;
  for (let row = 1; row <= a.length; row++) {
    table[row * width] = row;
    for (let column = 1; column < width; column++) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min(
        table[(row - 1) * width + column] + 1,
        table[row * width + column - 1] + 1,
        table[(row - 1) * width + column - 1] + (same ? 0 : 1),
      );
      if (
        row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      ) {
        best = Math.min(best, table[(row - 2) * width + column - 2] + 1);
      }
      table[row * width + column] = best;
    }
  }
  return table[a.length * width + b.length];
}

/**
 * The candidate with the fewest edits, the first of equals; undefined when even that one shares
 * too little with the name to help.
 */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > 100) return undefined;
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  if (best === undefined) return undefined;
  // Of a short name at least half must be right: "bus" is not meant to be "tls".
  const isClose = bestDistance <= Math.max(2, Math.floor(best.length * 0.4)) &&
    2 * bestDistance <= Math.max(best.length, name.length);
  return isClose ? best : undefined;
}
