/**
 * A leader may answer reads alone only while every voter keeps to it for as long as it counts on. Each
 * node has a configuration of its own, so each says in its hello what it keeps to; where one does
 * not, reads ask the others, as they do without leases.
 */
import type { Logger } from "../base/log.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { HelloFacts } from "./hello.ts";
import type { Peer } from "./peer.ts";

export interface LeaseHost {
  readonly logger: Logger;
  readonly facts: HelloFacts;
  readonly groups: readonly GroupOfAny[];
  peer(nodeId: string): Peer | undefined;
}

/** Allows leases, or voids them, by what the voters have said so far. */
export function lookAtLeases(host: LeaseHost): void {
  const { leaseMs, nodeId } = host.facts;
  if (leaseMs === 0) return;
  for (const group of host.groups) {
    const { voters, votersOutgoing } = group.status().configuration;
    const against = [...voters, ...votersOutgoing].find((replica) => {
      const member = group.members.get(replica);
      if (member?.nodeId === nodeId) return false;
      const peer = member === undefined ? undefined : host.peer(member.nodeId);
      return peer === undefined || peer.leaseMs < leaseMs;
    });
    if (!group.allowLease(against === undefined)) continue;
    const fields = { group: group.id, replica: against };
    if (against === undefined) host.logger.info("reads are answered by the leader's lease", fields);
    else {
      host.logger.warning(
        "a voter has not promised a lease: give all nodes the same raft.lease_reads and " +
          "raft.election_timeout",
        fields,
      );
    }
  }
}
