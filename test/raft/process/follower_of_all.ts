/** A watch of everything from the beginning on, which has to see each change once, in its order. */
import assert from "node:assert/strict";
import type { KvClient } from "../../../src/kv/client.ts";
import type { KvEntry, KvWatchEvent } from "../../../src/kv/client_types.ts";

type Change = Exclude<KvWatchEvent, { type: "progress" }>;

export class FollowerOfAll {
  readonly #name: string;
  readonly #client: KvClient;
  readonly #changes: Change[] = [];
  readonly #work: Promise<void>;
  readonly #watch;
  #seen: () => void = () => {};

  constructor(name: string, client: KvClient) {
    this.#name = name;
    this.#client = client;
    this.#watch = client.watch({ prefix: "" }, { from: 1 });
    this.#work = this.#follow();
  }

  /** Ends it once it has seen everything, and compares that with what is there. */
  async finish(): Promise<number> {
    const { revision } = await this.#client.put("seen by all", this.#name);
    await new Promise<void>((resolve) => {
      this.#seen = () => {
        if ((this.#changes.at(-1)?.revision ?? 0) >= revision) resolve();
      };
      this.#seen();
    });
    this.#watch.close();
    await this.#work;
    const state = this.#replay(revision);
    let from = new Uint8Array([0]);
    for (let more = true; more;) {
      const page = await this.#client.range({ from }, { revision, limit: 200 });
      for (const entry of page.entries) {
        assert.equal(state.get(entry.keyText!), shape(entry), `${this.#name}: ${entry.keyText}`);
        state.delete(entry.keyText!);
        from = new Uint8Array([...entry.key, 0]);
      }
      more = page.more;
    }
    assert.deepEqual([...state], [], `${this.#name} never heard that these were deleted`);
    return this.#changes.length;
  }

  /** What the store has to hold by what was told. */
  #replay(upTo: number): Map<string, string> {
    const state = new Map<string, string>();
    let before = 1;
    for (const { type, revision, entry } of this.#changes) {
      if (revision > upTo) break;
      assert.ok(
        revision === before || revision === before + 1,
        `${this.#name} was told of revision ${revision} after ${before}`,
      );
      before = revision;
      if (type === "delete") assert.ok(state.delete(entry.keyText!), `${entry.keyText} was there`);
      else state.set(entry.keyText!, shape(entry));
    }
    assert.equal(before, upTo, this.#name);
    return state;
  }

  async #follow(): Promise<void> {
    for await (const event of this.#watch) {
      if (event.type === "progress") continue;
      this.#changes.push(event);
      this.#seen();
    }
  }
}

function shape({ text, createRevision, modRevision, version }: KvEntry): string {
  return `${text} ${createRevision} ${modRevision} ${version}`;
}
