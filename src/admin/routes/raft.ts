/** `/v1/raft` and below: the operators' requests of covey.raft.v1.Raft as plain JSON. */
import { Raft } from "../../gen/covey/raft/v1/raft_pb.ts";
import type { Gate } from "../gate.ts";
import { type BodyLimits, noParameters, readJson, readQuery } from "../input.ts";
import { addBody, groupBody, peersQuery, replicaBody, transferBody } from "../raft_input.ts";
import { jsonReply } from "../reply.ts";
import { peerReport, peersReport, raftReport } from "../../report/raft.ts";
import type { ServiceCaller } from "../service_call.ts";

export function raftRoutes(gate: Gate, caller: ServiceCaller, limits: BodyLimits): void {
  const { method } = Raft;
  gate.serve("GET /v1/raft", async (visit) => {
    readQuery(visit.url, noParameters);
    return jsonReply(raftReport(await caller.unary(visit, method.status, {})), 200);
  });
  gate.serve("GET /v1/raft/peers", async (visit) => {
    const { group } = readQuery(visit.url, peersQuery);
    return jsonReply(peersReport(await caller.unary(visit, method.peers, { group })), 200);
  });
  gate.serve("POST /v1/raft/add", async (visit) => {
    const input = await readJson(visit, limits, addBody);
    const { peer } = await caller.unary(visit, method.add, input);
    return jsonReply({ peer: peerReport(peer!) }, 200);
  });
  gate.serve("POST /v1/raft/promote", async (visit) => {
    const { group, replica } = await readJson(visit, limits, replicaBody);
    await caller.unary(visit, method.promote, { group, replica: BigInt(replica) });
    return jsonReply({}, 200);
  });
  gate.serve("POST /v1/raft/remove", async (visit) => {
    const { group, replica } = await readJson(visit, limits, replicaBody);
    await caller.unary(visit, method.remove, { group, replica: BigInt(replica) });
    return jsonReply({}, 200);
  });
  gate.serve("POST /v1/raft/transfer", async (visit) => {
    const { group, replica = 0 } = await readJson(visit, limits, transferBody);
    const { leader } = await caller.unary(visit, method.transfer, {
      group,
      replica: BigInt(replica),
    });
    return jsonReply({ leader: Number(leader) }, 200);
  });
  gate.serve("POST /v1/raft/snapshot", async (visit) => {
    const input = await readJson(visit, limits, groupBody);
    const { index, term, bytes } = await caller.unary(visit, method.snapshot, input);
    return jsonReply({ index: Number(index), term: Number(term), bytes: Number(bytes) }, 200);
  });
}
