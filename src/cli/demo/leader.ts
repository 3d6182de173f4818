/** Who leads the demo's cluster, as its nodes say. */
import { CoveyError } from "../../base/error.ts";
import { Raft, Role } from "../../gen/covey/raft/v1/raft_pb.ts";
import { createClient } from "../../ttrpc/client.ts";
import type { DemoNode } from "./demo_node.ts";

/** What is known of the leader. */
export interface Leadership {
  /** The name of its node; undefined when nobody leads. */
  readonly leader: string | undefined;
  /** The newest term that a node has seen. */
  readonly term: number;
  /** How many nodes answered. */
  readonly answered: number;
}

/** A node that does not answer for so long is asked again in the next round. */
const answerMs = 1000;

/** Asks every node that is up. Of two that both think they lead, the one of the newer term does. */
export async function askLeader(nodes: readonly DemoNode[]): Promise<Leadership> {
  const answers = await Promise.all(nodes.map(askOne));
  let leader: string | undefined;
  let leaderTerm = 0;
  let term = 0;
  let answered = 0;
  for (const answer of answers) {
    if (answer === undefined) continue;
    answered++;
    term = Math.max(term, answer.term);
    if (answer.leads && answer.term > leaderTerm) {
      leader = answer.name;
      leaderTerm = answer.term;
    }
  }
  // One that leads in an older term than others have seen is about to learn it.
  return { leader: leaderTerm === term ? leader : undefined, term, answered };
}

async function askOne(
  node: DemoNode,
): Promise<{ name: string; term: number; leads: boolean } | undefined> {
  const { channel, name } = node;
  if (channel === undefined) return undefined;
  try {
    const { groups } = await createClient(Raft, channel).status({}, { timeoutMs: answerMs });
    const group = groups.at(0);
    return { name, term: Number(group?.term ?? 0), leads: group?.role === Role.LEADER };
  } catch (error) {
    // It is stopped, or being killed at this moment.
    if (error instanceof CoveyError) return undefined;
    throw error;
  }
}
