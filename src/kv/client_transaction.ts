/** Transactions step by step. */
import type {
  KvCallOptions,
  KvCompare,
  KvOperation,
  KvTransaction,
  KvTransactionResult,
} from "./client_types.ts";

/** Collects a transaction and sends it. */
export class TransactionBuilder {
  readonly #compare: KvCompare[] = [];
  readonly #success: KvOperation[] = [];
  readonly #failure: KvOperation[] = [];
  readonly #commit: (
    transaction: KvTransaction,
    options?: KvCallOptions,
  ) => Promise<KvTransactionResult>;

  constructor(
    commit: (transaction: KvTransaction, options?: KvCallOptions) => Promise<KvTransactionResult>,
  ) {
    this.#commit = commit;
  }

  /** What must hold, all of it. */
  if(...compares: readonly KvCompare[]): this {
    this.#compare.push(...compares);
    return this;
  }

  /** What is done when it holds. */
  do(...operations: readonly KvOperation[]): this {
    this.#success.push(...operations);
    return this;
  }

  /** What is done when it does not. */
  otherwise(...operations: readonly KvOperation[]): this {
    this.#failure.push(...operations);
    return this;
  }

  /** As a plain object, to be nested in another one for instance. */
  build(): KvTransaction {
    return {
      compare: [...this.#compare],
      success: [...this.#success],
      failure: [...this.#failure],
    };
  }

  commit(options?: KvCallOptions): Promise<KvTransactionResult> {
    return this.#commit(this.build(), options);
  }
}
