/** A calm network of which a group crashes at once: it leaves, and nobody else. */
import { chaosUntilMs } from "./plan.ts";
import { agree } from "./core.ts";
import type { World } from "./world.ts";

/** From the crash until the others have one view without the group. */
const evictedMs = 20_000;

export function calm(world: World): void {
  const { hosts, random } = world;
  world.until("founders agree", 5_000, () => agree(hosts));
  const most = Math.max(1, Math.floor(hosts.length / 5));
  const rest = [...hosts];
  const group = Array.from(
    { length: random.between(1, most) },
    () => rest.splice(random.below(rest.length), 1)[0],
  );
  const addresses = new Set(group.map(({ address }) => address));
  const { epoch } = world.ledger.head!;
  world.onDecided = (_before, _after, left) => {
    for (const { address, name } of left) {
      world.check(addresses.has(address), "nobody leaves without a fault", `${name} left`);
    }
  };
  world.mark("fault: crash of a group");
  world.faults += group.length;
  for (const host of group) {
    if (random.chance(0.5)) host.losePower();
    else host.kill();
  }
  world.until("a group that crashed leaves", evictedMs, () => agree(rest));
  const isOne = world.ledger.head!.epoch === epoch + 1;
  world.mark(isOne ? "group left in one cut" : "group left in several cuts");
  world.run(chaosUntilMs - world.nowMs);
  world.check(agree(rest), "nobody leaves without a fault", () => world.describe());
  world.onDecided = () => {};
}
