/** Whether a group can go on, during a change of its voters and after it. */

export function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** What a change means for the voters. */
export interface VoterChange {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * Why this is not safe, as a sentence; undefined when it is. The change is decided by a majority of
 * the old voters, jointly with one of the new where more than one differs, and the new ones go on
 * alone: both majorities have to be healthy.
 */
export function quorumProblem(
  { before, after }: VoterChange,
  isHealthy: (replica: number) => boolean,
): string | undefined {
  if (after.length === 0) return "no voter would be left";
  for (const [name, voters] of [["present", before], ["new", after]] as const) {
    const healthy = voters.filter(isHealthy).length;
    if (healthy < majorityOf(voters.length)) {
      return `only ${healthy} of the ${voters.length} ${name} voters would be healthy, which is no ` +
        "majority";
    }
  }
  return undefined;
}
