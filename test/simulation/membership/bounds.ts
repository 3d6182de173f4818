/** How much a member may keep, whatever comes and goes. */
import type { World } from "./world.ts";

const everyMs = 500;

/** Looks at all nodes again and again, as long as the run lasts. */
export function watchBounds(world: World): void {
  world.at(everyMs, () => {
    for (const { name, process } of world.hosts) {
      const { machine } = process ?? {};
      if (machine === undefined || machine.isEvicted) continue;
      const { joinersMax, roundMs } = world.plan.protocol;
      const { core, size } = machine.configuration;
      const kept = machine.kept;
      const say = (what: string, is: number, most: number): void =>
        world.check(
          is <= most,
          "tables stay below their bounds",
          () => `${name}: ${what}: ${is}, at most ${most}, with timers of ${roundMs} ms`,
        );
      say("joiners", kept.joiners, joinersMax);
      say("waiting", kept.waiting, joinersMax);
      say("cuts", kept.cuts, Math.max(64, 4 * core.length));
      // Votes, and promises and accepts of the ranks that are kept: at most one of each member.
      say("tallies", kept.tallies, core.length * (1 + 2 * 6));
      say("verdicts", kept.verdicts, size);
    }
    watchBounds(world);
  });
}
