/** The members of the first view, as every founder makes them by itself. */
import { encodeText } from "../base/bytes.ts";
import { xxh64 } from "../base/xxh64.ts";
import { type Member, MemberRole } from "./core/member.ts";
import type { Founding } from "./members_types.ts";

/** Their incarnations follow from the cluster and the node, so that all founders give the same. */
export function foundersOf(clusterId: string, founders: Founding["founders"]): Member[] {
  return founders.map(({ nodeId, name, address }) => ({
    address,
    nodeId,
    incarnation: xxh64(encodeText(`${clusterId} ${nodeId}`)) | 1n,
    name,
    role: MemberRole.core,
    metadata: new Map(),
  }));
}
