/**
 * Whom raft-go's requests mean. They carry a number and no address: it is the place, from 1, of an
 * address in `cluster.join`, as it is in raft-go's own list of peers.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import type { RaftGoMembers } from "../kv/raft_go.ts";
import type { CallOptions, Client } from "../ttrpc/service.ts";

/** `client` makes the operators' requests. */
export function raftGoMembers(join: readonly string[], client: Client<typeof Raft>): RaftGoMembers {
  const addressOf = (id: number, instead: string): string => {
    if (id >= 1 && id <= join.length) return join[id - 1];
    throw new CoveyError(
      Code.invalidArgument,
      `id ${id} is no place in cluster.join, which ` +
        (join.length === 0 ? "is empty" : `has 1 to ${join.length}`) + `: use ${instead}`,
    );
  };
  return {
    async add(id: number, options: CallOptions) {
      await client.add({ address: addressOf(id, '"covey raft add ADDRESS"') }, options);
    },
    async remove(id: number, options: CallOptions) {
      const instead = '"covey raft remove REPLICA"';
      const address = addressOf(id, instead);
      const { peers } = await client.peers({}, options);
      const peer = peers.find((one) => one.address === address);
      if (peer === undefined) {
        const known = peers.map((one) => `${one.replica} at ${one.address}`).join(", ");
        throw new CoveyError(
          Code.notFound,
          `no replica is at ${address}, number ${id} of cluster.join, but ${known}: use ${instead}`,
        );
      }
      await client.remove({ replica: peer.replica }, options);
    },
  };
}
