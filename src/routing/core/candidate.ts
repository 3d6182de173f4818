/** What a policy sees of a member that may be called. */
export interface Candidate {
  /** Where it is reached; unique among the candidates, which ascend by it. */
  readonly address: string;
  /** 32 hexadecimal digits, the same for as long as its data directory lives. */
  readonly nodeId: string;
  readonly name: string;
  readonly tags: readonly string[];
  /** Calls of this node that are under way there. */
  readonly pending: number;
  /** Grows with every call: the number of the last one that went there, 0 for none. */
  readonly lastCall: number;
  /** The round trip to it in milliseconds, measured or estimated; undefined when neither is known. */
  readonly tripMs: number | undefined;
}

/** The order of candidates: by code units, as members are ordered everywhere. */
export function byAddress(a: Candidate, b: Candidate): number {
  return a.address < b.address ? -1 : a.address > b.address ? 1 : 0;
}
