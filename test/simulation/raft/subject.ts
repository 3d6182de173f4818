/** Whole nodes with consensus and the key-value store. */
import { raftMutations } from "../mutations/raft/table.ts";
import type { Subject } from "../seeds/subject.ts";
import { marks } from "./marks.ts";
import { runRaftSeed } from "./run.ts";

export const raftSubject: Subject = {
  name: "raft",
  marks,
  mutations: raftMutations,
  run: runRaftSeed,
};
