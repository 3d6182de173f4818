/** A known bug that is put back, a patch of this name in the folder of its subject. */
export interface Mutation {
  readonly name: string;
  /** What is wrong, for people. */
  readonly bug: string;
  /** Seeds, from `from` on, within which it must be caught. */
  readonly seedsMax: number;
  /** The first seed, near one that is known to find what is rare. Default 1. */
  readonly from?: number;
}
