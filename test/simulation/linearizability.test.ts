/**
 * The checker that judges the store is judged here: by histories whose verdict is known, by its
 * definition tried out on thousands of small ones, and by the real machine.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import { checkHistory, type Model, type Operation } from "./linearizability/checker.ts";
import { classics } from "./linearizability/classics.ts";
import { lie, trueHistory } from "./linearizability/histories.ts";
import {
  hinted,
  type KvInput,
  kvModel,
  type KvOperation,
  partition,
} from "./linearizability/kv_model.ts";
import { MachineClient } from "./linearizability/machine_client.ts";
import { judgeHistory } from "./linearizability/report.ts";
import { checkRevisions } from "./linearizability/revisions.ts";
import { shrink } from "./linearizability/shrink.ts";
import { isLinearizable } from "./linearizability/twin.ts";
import { judgeWatch, type WatchEvent } from "./linearizability/watches.ts";

function isExplained(history: readonly KvOperation[]): boolean {
  return partition(history).every((part) => {
    const { kind } = checkHistory(kvModel, hinted(part));
    assert.notEqual(kind, "unknown");
    return kind === "linearizable";
  });
}

for (const { name, history, legal, byOrder, byRevisions } of classics) {
  test(`linearizability: ${name} is ${legal ? "good" : "bad"}`, () => {
    assert.equal(judgeHistory(history) === undefined, legal);
    if (legal) return;
    assert.equal(isExplained(history), !byOrder, "by an order of each key's operations");
    assert.equal(checkRevisions(history).length === 0, !byRevisions, "by the revisions");
  });
}

test("linearizability: a counterexample shows what matters, in lines", () => {
  const lines = judgeHistory(classics.find(({ name }) => name === "a lost update")!.history)!;
  assert.match(lines, /no order of these operations explains their answers:/);
  assert.match(
    lines,
    /#2 ann \[2\.0 … 9\.0\] if mod\(a\)=2 then put a=v2 else get a → succeeded, at revision 3/,
  );
  assert.match(lines, /the longest order that fits: /);
  assert.match(lines, /and none of these can follow: #\d/);
});

test("linearizability: the search finds what trying all orders finds", () => {
  const random = new Prng(1);
  const verdicts = { good: 0, bad: 0, unknownOutcomes: 0 };
  for (let round = 0; round < 3000; round++) {
    const history = trueHistory(random, {
      operations: round % 10 === 0 ? 6 : random.between(2, 5),
      keys: random.between(1, 2),
      clients: random.between(1, 3),
      unknownChance: random.pick([0, 0.3, 0.6]),
    });
    assert.ok(isExplained(history), `round ${round}: a true history is linearizable`);
    const lied = lie(random, history);
    // As one part, so that the twin and the search look at the very same thing.
    const expected = isLinearizable(kvModel, lied);
    assert.equal(checkHistory(kvModel, lied).kind === "linearizable", expected, `round ${round}`);
    const known = hinted(lied);
    const expectedKnown = isLinearizable(kvModel, known);
    assert.equal(
      checkHistory(kvModel, known).kind === "linearizable",
      expectedKnown,
      `round ${round}, with what others saw`,
    );
    // What others saw of a write can only speak against it.
    assert.ok(expected || !expectedKnown, `round ${round}`);
    // Looked at key by key less is seen, but never something that is not there.
    if (expectedKnown) assert.ok(isExplained(lied), `round ${round}: the parts of it`);
    if (expected) verdicts.good++;
    else verdicts.bad++;
    if (lied.some(({ output }) => output === undefined)) verdicts.unknownOutcomes++;
  }
  assert.ok(verdicts.good > 500 && verdicts.bad > 500, JSON.stringify(verdicts));
  assert.ok(verdicts.unknownOutcomes > 750, JSON.stringify(verdicts));
});

test("linearizability: hints find every lie that is found without, and blame no truth", () => {
  const random = new Prng(2);
  let bad = 0;
  let stricter = 0;
  for (let round = 0; round < 3000; round++) {
    const history = trueHistory(random, {
      operations: random.between(3, 9),
      keys: random.between(1, 2),
      clients: 4,
      unknownChance: 0.5,
    });
    assert.ok(isExplained(history));
    const lied = lie(random, history);
    const plain = checkHistory(kvModel, lied).kind;
    const known = checkHistory(kvModel, hinted(lied)).kind;
    if (plain === "illegal") assert.equal(known, "illegal", `round ${round}`);
    else if (known === "illegal") stricter++;
    if (plain === "illegal") bad++;
  }
  assert.ok(bad > 300, `${bad} were bad`);
  assert.ok(stricter < 30, `${stricter} more were found`);
});

test("linearizability: no true history of some size is blamed", () => {
  const random = new Prng(8);
  for (let round = 0; round < 400; round++) {
    const history = trueHistory(random, {
      operations: random.between(40, 150),
      keys: random.between(1, 3),
      clients: 10,
      unknownChance: 0.12,
    });
    assert.ok(isExplained(history), `round ${round}`);
  }
});

/** A register that knows nothing of revisions: the model of the textbooks. */
type RegisterInput = { readonly write: number } | "read";
const register: Model<number, RegisterInput, number> = {
  initial: 0,
  step(state, input, output) {
    if (input === "read") return output === undefined || output === state ? state : undefined;
    return input.write;
  },
  key: String,
};

test("linearizability: a register without revisions, against all orders", () => {
  const random = new Prng(3);
  let bad = 0;
  for (let round = 0; round < 4000; round++) {
    const history: Operation<RegisterInput, number>[] = [];
    for (let id = 1; id <= 5; id++) {
      const call = random.below(10);
      const isUnknown = random.chance(0.2);
      const isWrite = random.chance(0.5);
      history.push({
        id,
        client: `client ${id}`,
        input: isWrite ? { write: random.below(3) } : "read",
        output: isUnknown ? undefined : isWrite ? 0 : random.below(3),
        call,
        end: isUnknown ? Infinity : call + random.below(6),
      });
    }
    const expected = isLinearizable(register, history);
    assert.equal(checkHistory(register, history).kind === "linearizable", expected);
    if (!expected) bad++;
  }
  assert.ok(bad > 800 && bad < 3200, `${bad} were bad`);
});

test("linearizability: the real machine is explained, and no lie about it is believed", () => {
  const random = new Prng(4);
  let found = 0;
  const rounds = 60;
  for (let round = 0; round < rounds; round++) {
    const store = new MachineClient();
    const history: KvOperation[] = [];
    const template = trueHistory(random, {
      operations: 60,
      keys: 4,
      clients: 1,
      unknownChance: 0.05,
    });
    for (const { input, id, output } of template) {
      const answer = store.run(input);
      const known = output !== undefined;
      history.push({
        id,
        client: "ann",
        input,
        output: known ? answer : undefined,
        call: id * 10,
        end: known ? id * 10 + 1 : Infinity,
      });
    }
    assert.equal(judgeHistory(history), undefined);
    const lied = lie(random, history);
    const changed = lied.some((one, at) =>
      JSON.stringify(one.output) !== JSON.stringify(history[at].output)
    );
    if (changed && judgeHistory(lied) !== undefined) found++;
    else if (changed) {
      // A failed compare that is said to have failed at an older revision may well be true.
      const liar = lied.findIndex((one, at) => one !== history[at]);
      assert.ok(isExplained(lied), `round ${round}, operation ${liar + 1}`);
    }
  }
  assert.ok(found > rounds / 2, `${found} of ${rounds} lies were found`);
});

test("linearizability: long histories with many unknown outcomes end, and lies in them are found", () => {
  const random = new Prng(5);
  let found = 0;
  for (let round = 0; round < 16; round++) {
    const history = trueHistory(random, {
      operations: 600,
      keys: 12,
      clients: 12,
      unknownChance: 0.15,
    });
    assert.equal(judgeHistory(history, 200_000), undefined, `round ${round}`);
    const verdict = judgeHistory(lie(random, history), 200_000);
    if (verdict !== undefined && !verdict.includes("given up")) found++;
  }
  assert.ok(found >= 8, `${found} of 16 lies were found`);
});

test("linearizability: a search that takes too long is no success", () => {
  const history: Operation<RegisterInput, number>[] = [];
  for (let id = 1; id <= 24; id++) {
    const input: RegisterInput = id === 24 ? "read" : { write: id };
    history.push({ id, client: `${id}`, input, output: id === 24 ? 99 : 0, call: 0, end: 1 });
  }
  const verdict = checkHistory(register, history, 1000);
  assert.deepEqual(verdict, { kind: "unknown", steps: 1000 });
});

test("linearizability: what is left of a wrong history is wrong, and small", () => {
  const random = new Prng(6);
  let shrunk = 0;
  for (let round = 0; round < 300; round++) {
    const history = lie(
      random,
      trueHistory(random, { operations: 30, keys: 1, clients: 3, unknownChance: 0.1 }),
    );
    const [part] = partition(history);
    if (checkHistory(kvModel, hinted(part)).kind !== "illegal") continue;
    const small = shrink(part);
    assert.equal(checkHistory(kvModel, hinted(small)).kind, "illegal");
    assert.ok(small.length <= part.length);
    if (small.length <= 6) shrunk++;
  }
  assert.ok(shrunk > 60, `${shrunk} came down to six operations or fewer`);
});

const put = (revision: number, key: string, version = 1): WatchEvent => ({
  revision,
  type: "put",
  key,
  value: `v${revision}`,
  create: revision - version + 1,
  version,
});

test("watches: exactly the agreed events, in order", () => {
  const agreed = [put(2, "a"), put(3, "b"), put(4, "a"), put(5, "a"), put(5, "b")];
  const watch = (events: WatchEvent[], { from = 1, progress = 0, upTo = 0 } = {}) =>
    judgeWatch(
      agreed,
      { name: "w", from, covers: (key) => key === "a", events, progress },
      upTo,
    );
  assert.equal(watch([]), undefined);
  assert.equal(watch([put(2, "a"), put(4, "a")]), undefined, "the rest may still come");
  assert.equal(watch([put(4, "a"), put(5, "a")], { from: 3, progress: 5, upTo: 5 }), undefined);
  assert.match(watch([put(4, "a")]) ?? "", /out of turn/);
  assert.match(watch([put(2, "a"), put(2, "a")]) ?? "", /twice/);
  assert.match(watch([put(2, "a"), put(3, "a")]) ?? "", /never happened so/);
  assert.match(watch([put(2, "a"), put(4, "a"), put(5, "a"), put(6, "a")]) ?? "", /never happened/);
  assert.match(watch([put(2, "a")], { progress: 4 }) ?? "", /nothing is missing up to 4/);
  assert.match(watch([put(2, "a"), put(4, "a")], { upTo: 5 }) ?? "", /never got/);
  const all = judgeWatch(agreed, {
    name: "w",
    from: 5,
    covers: () => true,
    events: [put(5, "a")],
    progress: 0,
  });
  assert.match(all ?? "", /a part of revision 5/);
});

test("linearizability: keys that are written together are looked at together", () => {
  const both: KvInput = {
    compares: [],
    success: [
      { kind: "put", key: "a", value: "v1", previous: false },
      { kind: "put", key: "b", value: "w1", previous: false },
    ],
    failure: [],
  };
  const get = (key: string): KvInput => ({
    compares: [],
    success: [{ kind: "get", key }],
    failure: [],
  });
  const entry = { value: "v1", create: 2, mod: 2, version: 1 };
  const history: KvOperation[] = [
    { id: 1, client: "ann", input: both, output: undefined, call: 0, end: Infinity },
    {
      id: 2,
      client: "bob",
      input: get("a"),
      output: { revision: 2, succeeded: true, actions: [{ entry, deleted: 0 }] },
      call: 1,
      end: 2,
    },
    {
      id: 3,
      client: "bob",
      input: get("b"),
      output: { revision: 2, succeeded: true, actions: [{ entry: undefined, deleted: 0 }] },
      call: 3,
      end: 4,
    },
  ];
  assert.equal(partition(history).length, 1);
  assert.equal(isExplained(history), false, "half of a transaction is seen");
});
