/** Whole nodes and their ttrpc traffic. */
import { rpcMutations } from "../mutations/rpc/table.ts";
import type { Subject } from "../seeds/subject.ts";
import { marks } from "./marks.ts";
import { runRpcSeed } from "./run.ts";

export const rpcSubject: Subject = {
  name: "rpc",
  marks,
  mutations: rpcMutations,
  run: runRpcSeed,
};
