/** How much a node may hold while others are slow, gone or shouting. */
import { entryOverheadBytes } from "../../../src/raft/core/log.ts";
import type { Agent } from "./agent.ts";
import type { RaftWorld } from "./world.ts";

const everyMs = 250;
/** The largest command of the workload, with its frame. */
const commandBytesMax = 4_000;

/** Looks at all nodes again and again, as long as the run lasts. */
export function watchBounds(world: RaftWorld): void {
  const { simulation } = world;
  simulation.at(simulation.nowMs + everyMs, () => {
    for (const agent of world.fleet.all) if (agent.replica?.parts.alive()) look(world, agent);
    watchBounds(world);
  });
}

function look(world: RaftWorld, { name, replica }: Agent): void {
  const { group, core, host } = replica!.parts;
  const { options } = host;
  const status = core.status();
  const say = (what: string, is: number, most: number): void =>
    world.verdict.check(
      is <= most,
      "queues stay below their bounds",
      () => `${name}: ${what}: ${is}, at most ${most}`,
    );
  say("uncommitted bytes", status.uncommittedBytes, options.uncommittedBytesMax + commandBytesMax);
  // A change of the configuration is tracked beside them.
  say("proposals", group.pending.proposals, options.proposalsMax + 1);
  say(
    "bytes gathered for the log",
    host.log.gatheredBytes,
    2 * options.uncommittedBytesMax + (1 << 20),
  );
  for (const member of status.members) {
    say("messages under way", member.inflightMessages, options.inflightMessagesMax);
    const slack = options.appendBytesMax + commandBytesMax + entryOverheadBytes;
    say("bytes under way", member.inflightBytes, options.inflightBytesMax + slack);
  }
}
