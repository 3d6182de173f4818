/** The module's options in the core's terms: times become ticks. */
import { type Options, ReadMode } from "./core/options.ts";
import { type RaftOptions, ticksPerHeartbeat } from "./options.ts";

export function ticksOf(options: RaftOptions, ms: number): number {
  return Math.max(
    ticksPerHeartbeat + 1,
    Math.ceil(ms * ticksPerHeartbeat / options.heartbeatMs),
  );
}

/** Messages take their time, and clocks drift. */
const leaseMarginTicksMin = 3;

export function coreOptions(
  options: RaftOptions,
  id: number,
): Partial<Options> & { readonly id: number } {
  const electionTicks = ticksOf(options, options.electionMs);
  return {
    id,
    electionTicks,
    leaseMarginTicks: Math.max(leaseMarginTicksMin, Math.ceil(electionTicks / 4)),
    heartbeatTicks: ticksPerHeartbeat,
    diskStallTicks: ticksOf(options, options.diskStallMs),
    readMode: options.leaseReads ? ReadMode.lease : ReadMode.readIndex,
    appendBytesMax: options.appendBytesMax,
    inflightMessagesMax: options.inflightMessagesMax,
    inflightBytesMax: options.inflightBytesMax,
    uncommittedBytesMax: options.uncommittedBytesMax,
    // The driver forwards proposals itself, so that their results come back.
    forwardProposals: false,
    lazyCommits: true,
  };
}
