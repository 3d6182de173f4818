/** Which faults a run must have met, and which of them are hard. */
import { type FaultKind, faultKinds } from "../../../src/runtime/sim/faults.ts";

/** Those that hit a machine, a link or a disk as a whole: they make a seed rough. */
export const hardFaults: readonly FaultKind[] = [
  "partition",
  "oneWayCut",
  "connectionReset",
  "slowLink",
  "stuckPeer",
  "pause",
  "kill",
  "crash",
  "powerLoss",
  "clockJump",
  "diskFull",
  "syncFailure",
  "bitFlip",
];

export const datagramFaults: readonly FaultKind[] = ["udpDuplicate", "udpLoss", "udpReorder"];

export const diskFaults: readonly FaultKind[] = [
  "bitFlip",
  "diskFull",
  "lostName",
  "lostWrite",
  "openFailure",
  "readFailure",
  "slowSync",
  "syncFailure",
  "tornWrite",
  "writeFailure",
];

/** All that the simulator can do, but these: a kind that is new has to be met or named here. */
export function faultsWithout(...left: readonly FaultKind[]): readonly FaultKind[] {
  return faultKinds.filter((kind) => !left.includes(kind));
}
