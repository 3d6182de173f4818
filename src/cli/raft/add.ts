/** `covey raft add ADDRESS`: a waiting node becomes a replica. */
import { formatAddress } from "../../base/address.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { CliContext } from "../context.ts";
import { withNode } from "../node_link.ts";
import { parseTarget } from "../target.ts";
import { describePeer, type RaftFlags } from "./group.ts";
import { peerReport, suffrageName } from "../../report/raft.ts";

/** The flags of `covey raft add`. */
export interface AddFlags extends RaftFlags {
  readonly learner?: boolean;
  readonly "node-id"?: string;
}

/** A new replica gets all that the others have before it becomes a voter. */
const timeoutMsDefault = 60_000;

/** Prints the number of the new replica. */
export async function add(this: CliContext, flags: AddFlags, text: string): Promise<void> {
  const address = formatAddress(parseTarget(this.runtime, text));
  await withNode(this, flags, async (node) => {
    const { peer } = await node.client(Raft).add({
      group: flags.group ?? 0,
      address,
      learner: flags.learner ?? false,
      nodeId: flags["node-id"] ?? "",
    }, { timeoutMs: flags.timeout === undefined ? timeoutMsDefault : node.timeoutMs });
    if (peer === undefined) {
      throw new CoveyError(Code.internal, "the node answered without saying what it added");
    }
    if (flags.json) await this.printJson(peerReport(peer));
    else await this.print(String(peer.replica));
    const later = flags.learner
      ? "it stays a learner until covey raft promote"
      : `it is a ${suffrageName(peer.suffrage)}`;
    this.note(`${address} is ${describePeer(peer)}; ${later}`);
  });
}
