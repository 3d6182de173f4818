/** Names beside a file's own. */

/** A name beside `path` that nothing bears, for what has to step aside for a moment. */
export function freeName(path: string, isTaken: (path: string) => boolean): string {
  for (let number = 0;; number++) {
    const name = `${path}.aside${number === 0 ? "" : number}`;
    if (!isTaken(name)) return name;
  }
}
