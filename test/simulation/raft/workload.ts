/** What clients do: reads, writes, deletes, swaps and small transactions on a few keys. */
import type { Prng } from "../../../src/base/prng.ts";
import type { Entry, KvAction, KvInput } from "../linearizability/kv_model.ts";
import type { WorkPlan } from "./plan.ts";

export class Workload {
  readonly #random: Prng;
  readonly #plan: WorkPlan;
  #values = 0;
  /** What clients saw last, so that swaps have a chance. */
  readonly #seen = new Map<string, Entry | undefined>();

  constructor(random: Prng, plan: WorkPlan) {
    this.#random = random;
    this.#plan = plan;
  }

  saw(key: string, entry: Entry | undefined): void {
    this.#seen.set(key, entry);
  }

  draw(): KvInput {
    const random = this.#random;
    const number = random.below(this.#plan.keys);
    const key = `k${number}`;
    const get: KvAction = { kind: "get", key };
    const put = (of: string): KvAction => ({
      kind: "put",
      key: of,
      value: `v${++this.#values}`,
      previous: random.chance(0.7),
    });
    const plain = (action: KvAction): KvInput => ({ compares: [], success: [action], failure: [] });
    const drawn = random.below(20);
    if (drawn < 7) return plain(get);
    if (drawn < 13) return plain(put(key));
    if (drawn < 15) return plain({ kind: "delete", key, previous: random.chance(0.7) });
    if (drawn < 18) return this.#swap(key, put(key), get);
    // Two neighbours at one moment.
    const other = `k${number ^ 1}`;
    const success = drawn === 18
      ? [put(key), put(other)]
      : [get, { kind: "get", key: other } as const];
    return { compares: [], success, failure: [] };
  }

  #swap(key: string, put: KvAction, get: KvAction): KvInput {
    const seen = this.#seen.get(key);
    const target = this.#random.pick(["mod", "version", "value"] as const);
    const equals = seen === undefined ? target === "value" ? "v0" : 0 : seen[target];
    return { compares: [{ key, target, equals }], success: [put], failure: [get] };
  }

  /**
   * The value as it is sent: longer than its name, so that logs and snapshots grow, and always the
   * same for the same name, so that it can be compared.
   */
  padded(value: string): string {
    const [least, most] = this.#plan.valueBytes;
    const number = Number(value.slice(1));
    return `${value}:`.padEnd(least + (number * 7919) % (most - least + 1), ".");
  }
}

/** The name of a value that was sent padded. */
export function nameOf(padded: string): string {
  return padded.slice(0, padded.indexOf(":"));
}
