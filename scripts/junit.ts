/**
 * Reads the JUnit reports of `bun test` and `deno test` and counts top-level tests alike.
 *
 * The two reports differ (tried with Bun 1.4.5 and Deno 2.9.5): Bun nests a `describe` as a
 * testsuite and leaves out the subtests of `t.test`; Deno lists everything flat, a subtest as
 * "outer > inner" and under a testsuite of its own when a `describe` made it, and marks a test that
 * ended the process as `error`. Neither lists a file that ended before its first test: the caller
 * compares the files with those it asked for.
 */

/** One top-level test, or one top-level `describe` with all that is in it. */
export interface TestResult {
  /** Path from the checkout, "test/base/bytes.test.ts". */
  readonly file: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly seconds: number;
}

interface Tag {
  readonly name: string;
  readonly kind: "open" | "close" | "empty";
  readonly attributes: ReadonlyMap<string, string>;
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g, (whole, decimal, hex, name) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    return entities[name] ?? whole;
  });
}

/** The tags in order; text between them is skipped. */
function* tags(xml: string): Generator<Tag> {
  const pattern =
    /<\?[^]*?\?>|<!--[^]*?-->|<!\[CDATA\[[^]*?\]\]>|<(\/?)([\w:.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/g;
  for (const match of xml.matchAll(pattern)) {
    const [, close, name, attributeText, empty] = match;
    if (name === undefined) continue;
    const attributes = new Map<string, string>();
    for (
      const part of (attributeText ?? "").matchAll(/([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)
    ) {
      attributes.set(part[1] ?? "", unescapeXml(part[2] ?? part[3] ?? ""));
    }
    yield { name, kind: close === "/" ? "close" : empty === "/" ? "empty" : "open", attributes };
  }
}

interface Leaf {
  readonly file: string;
  /** Names of the `describe`s around it, outermost first. */
  readonly around: readonly string[];
  readonly name: string;
  outcome: TestResult["outcome"];
  readonly seconds: number;
}

/** Every testcase of a report, in order. Throws when the report is cut off. */
function leaves(xml: string): Leaf[] {
  const found: Leaf[] = [];
  const suites: string[] = [];
  let current: Leaf | undefined;
  let ended = false;
  for (const tag of tags(xml)) {
    if (tag.name === "testsuites") {
      ended = tag.kind !== "open";
    } else if (tag.name === "testsuite") {
      if (tag.kind === "close") suites.pop();
      else if (tag.kind === "open") suites.push(tag.attributes.get("name") ?? "");
    } else if (tag.name === "testcase") {
      if (tag.kind === "close") {
        current = undefined;
        continue;
      }
      const [file = "", ...around] = suites;
      current = {
        file: file.replace(/^\.\//, ""),
        around,
        name: tag.attributes.get("name") ?? "",
        outcome: "passed",
        seconds: Number(tag.attributes.get("time") ?? 0),
      };
      found.push(current);
      if (tag.kind === "empty") current = undefined;
    } else if (current !== undefined && tag.kind !== "close") {
      if (tag.name === "failure" || tag.name === "error") current.outcome = "failed";
      else if (tag.name === "skipped" && current.outcome === "passed") current.outcome = "skipped";
    }
  }
  if (!ended) throw new Error("the report is cut off: </testsuites> is missing");
  return found;
}

/** Top-level tests of a report written by `bun test --reporter=junit`. */
export function readBunReport(xml: string): TestResult[] {
  const results: TestResult[] = [];
  const groups = new Map<string, Leaf[]>();
  for (const leaf of leaves(xml)) {
    const [group] = leaf.around;
    if (group === undefined) {
      const { file, name, outcome, seconds } = leaf;
      results.push({ file, name, outcome, seconds });
      continue;
    }
    const key = `${leaf.file}\n${group}`;
    const members = groups.get(key);
    if (members === undefined) groups.set(key, [leaf]);
    else members.push(leaf);
  }
  for (const [key, members] of groups) {
    const [file = "", name = ""] = key.split("\n");
    const outcome = members.some((leaf) => leaf.outcome === "failed")
      ? "failed"
      : members.every((leaf) => leaf.outcome === "skipped")
      ? "skipped"
      : "passed";
    const seconds = members.reduce((sum, leaf) => sum + leaf.seconds, 0);
    results.push({ file, name, outcome, seconds });
  }
  return results;
}

/** Top-level tests of a report written by `deno test --junit-path`. */
export function readDenoReport(xml: string): TestResult[] {
  const all = leaves(xml);
  const names = new Set(all.map((leaf) => leaf.name));
  // "a > b" is a subtest when there is a test "a"; a top-level test may have " > " in its name.
  const isNested = (name: string): boolean => {
    for (let at = name.indexOf(" > "); at >= 0; at = name.indexOf(" > ", at + 1)) {
      if (names.has(name.slice(0, at))) return true;
    }
    return false;
  };
  return all.filter((leaf) => !isNested(leaf.name))
    .map(({ file, name, outcome, seconds }) => ({ file, name, outcome, seconds }));
}
