/**
 * Where members of the cluster may be. What discovery finds is never trusted: an address is a reason
 * to dial, and who answers there has to prove itself like anybody else.
 */

/** An address that may lead into the cluster. */
export interface Candidate {
  /** `tcp://10.0.0.1:7946`, as `parseAddress` reads it. */
  readonly address: string;
  /** Where it is from, for people: `static`, `dns://covey.example:7946`, `lan 239.255.77.46:7946`. */
  readonly source: string;
}

/** Gets the whole list each time that it changes, never from within `start` or `stop`. */
export type CandidateSink = (candidates: readonly Candidate[]) => void;

/** One way to find members. It is started once and stopped once. */
export interface Discovery {
  /**
   * Begins to look, and goes on until `stop`: what fails is tried again for ever. Does not throw
   * and does not wait.
   */
  start(sink: CandidateSink): void;
  /** Ends it; the sink is not called any more. Does nothing before `start` and the second time. */
  stop(): void;
  /** What is known now; the sink got the same list last. */
  readonly candidates: readonly Candidate[];
}

/** Whether two lists say the same, in the same order. */
export function sameCandidates(a: readonly Candidate[], b: readonly Candidate[]): boolean {
  return a.length === b.length &&
    a.every(({ address, source }, at) => address === b[at].address && source === b[at].source);
}
