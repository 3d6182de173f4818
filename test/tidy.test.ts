/**
 * The house rules as a test: each offender is named with its place and what to write instead. The
 * rules are in test/tidy/, and test/tidy/rules.test.ts breaks each of them on purpose.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { accessRows, committed, lockFile, pins, type ServiceMethods } from "./tidy/committed.ts";
import { exceptions, roots } from "./tidy/exceptions.ts";
import { layout, nodeSockets } from "./tidy/layout.ts";
import { corePurity, effectsOutsideTheSeam } from "./tidy/purity.ts";
import { deadFiles } from "./tidy/reach.ts";
import { imports, length, moduleState, syntax } from "./tidy/shape.ts";
import { applyExceptions, formatOffences, type Offence, type Rule } from "./tidy/source.ts";
import { testHabits } from "./tidy/tests.ts";
import { listFiles, readCommitted, readSources, root } from "./tidy/tree.ts";

const paths = listFiles();
const sources = readSources(paths);

const rules: Readonly<Record<string, { readonly names: readonly string[]; readonly rule: Rule }>> =
  {
    "imports follow the table of the brief": { names: ["layout"], rule: layout },
    "Node's sockets, TLS, HTTP and streams stay out": { names: ["sockets"], rule: nodeSockets },
    "effects go through the seam": { names: ["effects"], rule: effectsOutsideTheSeam },
    "cores are pure and the same on both engines": { names: ["purity"], rule: corePurity },
    "exports by name, erasable syntax": { names: ["exports", "erasable"], rule: syntax },
    "imports are spelled so that both runtimes resolve them": { names: ["imports"], rule: imports },
    "files stay short": { names: ["length"], rule: length },
    "no module-level state": { names: ["state"], rule: moduleState },
    "tests do not sleep, focus or skip silently": {
      names: ["sleep", "focus", "skip", "runtime"],
      rule: testHabits,
    },
    "every file is reached": {
      names: ["dead"],
      rule: (files) =>
        deadFiles(
          files,
          paths.filter((path) => path.startsWith("src/") && !path.endsWith(".ts")),
          roots,
        ),
    },
    "nothing large, no machine's path, no registry's host": {
      names: ["blob", "registry", "machine"],
      rule: () => committed(paths.map(readCommitted)),
    },
  };

function none(offences: readonly Offence[]): void {
  assert.ok(offences.length === 0, `\n${formatOffences(offences)}\n`);
}

for (const [title, { names, rule }] of Object.entries(rules)) {
  test(`tidy: ${title}`, () => {
    const own = exceptions.filter((exception) => names.includes(exception.rule));
    none(applyExceptions(rule(sources), own));
  });
}

test("tidy: every exception belongs to a rule", () => {
  const known = new Set(Object.values(rules).flatMap(({ names }) => names));
  const lost = exceptions.filter((exception) => !known.has(exception.rule));
  assert.deepEqual(lost, []);
});

test("tidy: exact pins, and a lock without addresses", () => {
  none([
    ...pins(readFileSync(join(root, "package.json"), "utf8")),
    ...lockFile(readFileSync(join(root, "package-lock.json"), "utf8")),
  ]);
});

/** Whether an export of generated code is a service's descriptor. */
function isService(
  value: unknown,
): value is { kind: "service"; typeName: string; methods: { name: string }[] } {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

test("tidy: every method of every service has its row in the access table", async () => {
  const services: ServiceMethods[] = [];
  for (const path of paths.filter((one) => /^src\/gen\/.*_pb\.ts$/.test(one))) {
    const exported: Record<string, unknown> = await import(`../${path}`);
    for (const value of Object.values(exported)) {
      if (!isService(value)) continue;
      services.push({
        service: value.typeName,
        methods: value.methods.map((method) => method.name),
      });
    }
  }
  assert.ok(services.length >= 2, "src/gen has services");
  const { accessTable } = await import("../src/security/access.ts");
  none(accessRows(services, accessTable));
});
