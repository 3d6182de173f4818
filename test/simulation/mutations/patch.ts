/** Applies the small unified diffs of this folder; line numbers are hints, the text decides. */

export interface Patch {
  /** From the checkout. */
  readonly path: string;
  readonly hunks: readonly { readonly before: string; readonly after: string }[];
}

/** Reads a diff of one file. */
export function parsePatch(text: string): Patch {
  const path = /^\+\+\+ b\/(\S+)$/m.exec(text)?.[1];
  if (path === undefined) throw new Error("the patch names no file as +++ b/path");
  const hunks: { before: string; after: string }[] = [];
  for (const part of text.split(/^@@ .*@@.*\n/m).slice(1)) {
    let before = "";
    let after = "";
    for (const line of part.split("\n").slice(0, -1)) {
      const rest = `${line.slice(1)}\n`;
      if (line[0] !== "+") before += rest;
      if (line[0] !== "-") after += rest;
    }
    hunks.push({ before, after });
  }
  if (hunks.length === 0) throw new Error("the patch has no hunk");
  return { path, hunks };
}

/** The patched text; throws when a hunk's text is not there exactly once. */
export function applyPatch(patch: Patch, source: string): string {
  let text = source;
  for (const { before, after } of patch.hunks) {
    const at = text.indexOf(before);
    const again = at < 0 ? -1 : text.indexOf(before, at + 1);
    if (at < 0 || again >= 0) {
      const why = at < 0 ? "is not there any more" : "is there more than once";
      throw new Error(`${patch.path}: the text of a hunk ${why}:\n${before}`);
    }
    text = text.slice(0, at) + after + text.slice(at + before.length);
  }
  return text;
}
