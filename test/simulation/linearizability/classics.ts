/** Histories whose verdict is known: what every replicated store got wrong once, and its like. */
import type { Entry, KvAction, KvCompare, KvOperation } from "./kv_model.ts";

export interface Classic {
  readonly name: string;
  readonly history: readonly KvOperation[];
  readonly legal: boolean;
  /** Whether the search key by key finds it, and whether the revisions tell. */
  readonly byOrder: boolean;
  readonly byRevisions: boolean;
}

/** When an operation was called and when it ended; one number for an answer that never came. */
type When = readonly [call: number, end?: number];

/** Builds a history line by line. */
class Story {
  readonly operations: KvOperation[] = [];

  put(client: string, when: When, key: string, value: string, revision?: number): this {
    return this.#add(client, when, [], [{ kind: "put", key, value, previous: false }], revision);
  }

  /** Deletes a key that is there. */
  delete(client: string, when: When, key: string, revision?: number): this {
    return this.#add(client, when, [], [{ kind: "delete", key, previous: false }], revision, [], 1);
  }

  get(client: string, when: When, key: string, found: Entry | undefined, revision: number): this {
    return this.#add(client, when, [], [{ kind: "get", key }], revision, [found]);
  }

  /** Several keys at one moment. */
  getAll(
    client: string,
    when: When,
    keys: readonly string[],
    found: readonly (Entry | undefined)[],
    revision: number,
  ): this {
    const gets = keys.map((key): KvAction => ({ kind: "get", key }));
    return this.#add(client, when, [], gets, revision, found);
  }

  putAll(client: string, when: When, values: Record<string, string>, revision?: number): this {
    const puts = Object.entries(values).map(([key, value]): KvAction => ({
      kind: "put",
      key,
      value,
      previous: false,
    }));
    return this.#add(client, when, [], puts, revision);
  }

  /** Puts a value where the key is still at a revision. */
  swap(
    client: string,
    when: When,
    { key, mod, value }: { key: string; mod: number; value: string },
    revision?: number,
    found?: Entry,
  ): this {
    const compares: KvCompare[] = [{ key, target: "mod", equals: mod }];
    this.#add(client, when, compares, [{ kind: "put", key, value, previous: false }], revision);
    if (found === undefined) return this;
    const operation = this.operations.pop()!;
    const output = {
      revision: revision!,
      succeeded: false,
      actions: [{ entry: found, deleted: 0 }],
    };
    this.operations.push({ ...operation, output });
    return this;
  }

  #add(
    client: string,
    [call, end]: When,
    compares: readonly KvCompare[],
    success: readonly KvAction[],
    revision?: number,
    found: readonly (Entry | undefined)[] = [],
    deleted = 0,
  ): this {
    const failure: KvAction[] = compares.map(({ key }) => ({ kind: "get", key }));
    const output = revision === undefined ? undefined : {
      revision,
      succeeded: true,
      actions: success.map((_, at) => ({ entry: found[at], deleted })),
    };
    const id = this.operations.length + 1;
    const input = { compares, success, failure };
    this.operations.push({ id, client, input, output, call, end: end ?? Infinity });
    return this;
  }
}

const story = (): Story => new Story();

function entry(value: string, mod: number, create = mod, version = 1): Entry {
  return { value, create, mod, version };
}

function good(name: string, { operations }: Story): Classic {
  return { name, history: operations, legal: true, byOrder: false, byRevisions: false };
}

function bad(name: string, { operations }: Story, by: "both" | "order" | "revisions"): Classic {
  return {
    name,
    history: operations,
    legal: false,
    byOrder: by !== "revisions",
    byRevisions: by !== "order",
  };
}

export const classics: readonly Classic[] = [
  good(
    "one after the other",
    story().put("ann", [0, 1], "a", "v1", 2).get("ann", [2, 3], "a", entry("v1", 2), 2)
      .delete("bob", [4, 5], "a", 3).get("bob", [6, 7], "a", undefined, 3)
      .put("bob", [8, 9], "a", "v2", 4).get("ann", [10, 11], "a", entry("v2", 4), 4),
  ),
  good(
    "a read beside a write that sees it before it is acknowledged",
    story().put("ann", [0, 10], "a", "v1", 2).get("bob", [1, 2], "a", entry("v1", 2), 2)
      .get("cem", [3, 4], "a", entry("v1", 2), 2),
  ),
  good(
    "a read beside a write that does not see it",
    story().put("ann", [0, 10], "a", "v1", 2).get("bob", [1, 2], "a", undefined, 1),
  ),
  good(
    "an end and a call at the same moment count as beside each other",
    story().put("ann", [0, 5], "a", "v1", 2).get("bob", [5, 6], "a", undefined, 1),
  ),
  good(
    "a write of unknown outcome that nobody ever sees",
    story().put("ann", [0, 1], "a", "v1", 2).put("bob", [2], "a", "v2")
      .get("ann", [3, 4], "a", entry("v1", 2), 2).get("ann", [90, 91], "a", entry("v1", 2), 2),
  ),
  good(
    "a write of unknown outcome that happens long after",
    story().put("ann", [0, 1], "a", "v1", 2).put("bob", [2], "a", "v2")
      .get("ann", [3, 4], "a", entry("v1", 2), 2)
      .get("ann", [90, 91], "a", entry("v2", 3, 2, 2), 3),
  ),
  good(
    "two writes of unknown outcome, seen in the order of their revisions",
    story().put("ann", [0], "a", "v1").put("bob", [0], "a", "v2")
      .get("cem", [3, 4], "a", entry("v2", 2), 2)
      .get("cem", [5, 6], "a", entry("v1", 3, 2, 2), 3),
  ),
  good(
    "of two swaps beside each other one wins",
    story().put("ann", [0, 1], "a", "v1", 2)
      .swap("ann", [2, 9], { key: "a", mod: 2, value: "v2" }, 3)
      .swap("bob", [2, 9], { key: "a", mod: 2, value: "v3" }, 3, entry("v2", 3, 2, 2)),
  ),
  good(
    "a swap of unknown outcome explains why the next one fails",
    story().put("ann", [0, 1], "a", "v1", 2)
      .swap("ann", [2], { key: "a", mod: 2, value: "v2" })
      .swap("bob", [3, 9], { key: "a", mod: 2, value: "v3" }, 3, entry("v2", 3, 2, 2)),
  ),
  good(
    "a delete of unknown outcome explains a missing key",
    story().put("ann", [0, 1], "a", "v1", 2).delete("bob", [2], "a")
      .get("ann", [3, 4], "a", undefined, 3).put("ann", [5, 6], "a", "v2", 4)
      .get("ann", [7, 8], "a", entry("v2", 4), 4),
  ),
  good(
    // The delete of b hides the put of b, and the put of a beside it was made of nothing.
    "two keys put unseen, each after another change that nobody saw",
    story().put("ann", [0, 1], "a", "v1", 2).put("ann", [2, 3], "b", "w1", 3)
      .delete("bob", [4], "a").putAll("cem", [5], { a: "v2", b: "w2" })
      .delete("ann", [10, 11], "b", 6).get("ann", [12, 13], "b", undefined, 6)
      .put("ann", [14, 15], "a", "v3", 7)
      .get("ann", [16, 17], "a", entry("v3", 7, 5, 2), 7),
  ),
  bad(
    "a stale read",
    story().put("ann", [0, 1], "a", "v1", 2).put("ann", [2, 3], "a", "v2", 3)
      .get("bob", [4, 5], "a", entry("v1", 2), 2),
    "both",
  ),
  bad(
    "a stale read of another key",
    story().put("ann", [0, 1], "a", "v1", 2).put("ann", [2, 3], "b", "v2", 3)
      .get("bob", [4, 5], "a", entry("v1", 2), 2),
    "revisions",
  ),
  bad(
    "a lost update",
    story().put("ann", [0, 1], "a", "v1", 2)
      .swap("ann", [2, 9], { key: "a", mod: 2, value: "v2" }, 3)
      .swap("bob", [2, 9], { key: "a", mod: 2, value: "v3" }, 4),
    "order",
  ),
  good(
    "a transaction of unknown outcome of which one half was deleted unseen before the other is seen",
    story().put("ann", [0, 1], "a", "v1", 2)
      .putAll("bob", [2], { a: "v2", b: "w2" }).put("cem", [3], "b", "w3").delete("dan", [4], "a")
      .get("eve", [10, 11], "a", undefined, 5)
      .putAll("ann", [12, 13], { a: "v6", b: "w6" }, 6)
      .get("eve", [14, 15], "b", entry("w6", 6, 3, 3), 6)
      .get("eve", [16, 17], "a", entry("v6", 6), 6),
  ),
  bad(
    "an acknowledged write that is gone",
    story().put("ann", [0, 1], "a", "v1", 2).put("ann", [2, 3], "a", "v2", 3)
      .get("bob", [4, 5], "a", entry("v1", 2), 3),
    "both",
  ),
  bad(
    "two leaders that both write a key",
    story().put("ann", [0, 9], "a", "v1", 2).put("bob", [0, 9], "a", "v2", 2),
    "both",
  ),
  bad(
    "two leaders that write different keys",
    story().put("ann", [0, 9], "a", "v1", 2).put("bob", [0, 9], "b", "v2", 2),
    "revisions",
  ),
  bad(
    "a read of a write that is gone later",
    story().put("ann", [0, 1], "a", "v1", 2).put("bob", [2], "a", "v2")
      .get("cem", [3, 4], "a", entry("v2", 3, 2, 2), 3)
      .get("cem", [5, 6], "a", entry("v1", 2), 3),
    "both",
  ),
  bad(
    "a retry that is applied once more, after somebody else's write",
    story().put("ann", [0, 1], "a", "v1", 2).put("bob", [2, 3], "a", "v2", 3)
      .get("cem", [4, 5], "a", entry("v1", 4, 2, 3), 4),
    "both",
  ),
  bad(
    "a retry that is applied twice at once",
    story().put("ann", [0, 1], "a", "v1", 3).get("cem", [4, 5], "a", entry("v1", 3, 2, 2), 3),
    "order",
  ),
  bad(
    "a write of unknown outcome that is applied twice",
    story().put("ann", [0], "a", "v1").get("cem", [4, 5], "a", entry("v1", 2), 2)
      .get("cem", [6, 7], "a", entry("v1", 3, 2, 2), 3),
    "both",
  ),
  bad(
    "reads that go back",
    story().put("ann", [0, 1], "a", "v1", 2).put("ann", [2, 50], "a", "v2", 3)
      .get("bob", [3, 4], "a", entry("v2", 3, 2, 2), 3)
      .get("bob", [5, 6], "a", entry("v1", 2), 2),
    "both",
  ),
  bad(
    "reads that go back, from client to client",
    story().put("ann", [0, 1], "a", "v1", 2).put("ann", [2], "a", "v2")
      .get("bob", [3, 4], "a", entry("v2", 3, 2, 2), 3)
      .get("cem", [5, 6], "a", entry("v1", 2), 2),
    "both",
  ),
  bad(
    "a read of what is not written yet",
    story().get("bob", [0, 1], "a", entry("v1", 2), 2).put("ann", [2, 3], "a", "v1", 2),
    "both",
  ),
  bad(
    "a value that nobody wrote",
    story().put("ann", [0, 1], "a", "v1", 2).get("bob", [2, 3], "a", entry("v9", 3, 2, 2), 3),
    "order",
  ),
  bad(
    "an acknowledged delete that did not happen",
    story().put("ann", [0, 1], "a", "v1", 2).delete("ann", [2, 3], "a", 3)
      .get("bob", [4, 5], "a", entry("v1", 2), 3),
    "both",
  ),
  bad(
    "a revision that goes back from one key to another",
    story().put("ann", [0, 1], "a", "v1", 5).put("ann", [2, 3], "b", "v2", 4),
    "revisions",
  ),
  bad(
    "half of a transaction",
    story().putAll("ann", [0, 1], { a: "v1", b: "w1" }, 2)
      .putAll("ann", [2, 9], { a: "v2", b: "w2" }, 3)
      .getAll("bob", [3, 4], ["a", "b"], [entry("v2", 3, 2, 2), entry("w1", 2)], 3),
    "both",
  ),
  bad(
    "a swap that succeeds although another one was first",
    story().put("ann", [0, 1], "a", "v1", 2)
      .swap("bob", [2, 3], { key: "a", mod: 2, value: "v2" }, 3)
      .swap("cem", [4, 5], { key: "a", mod: 2, value: "v3" }, 4),
    "order",
  ),
  bad(
    "a swap that fails for no reason",
    story().put("ann", [0, 1], "a", "v1", 2)
      .swap("bob", [2, 3], { key: "a", mod: 2, value: "v2" }, 2, entry("v1", 2)),
    "order",
  ),
];
