/** Taking a member out of the view that may well be there: it leaves, or somebody sends it away. */
import type { Membership } from "./core/membership.ts";
import type { Links } from "./links.ts";
import type { Waits } from "./waits.ts";

/** Tells those who observe it; `self` is told directly if it is one of them. */
export function sendAway(
  machine: Membership,
  links: Pick<Links, "send">,
  self: string,
  address: string,
): void {
  const { configuration } = machine;
  const place = configuration.placeOf(address);
  if (place === undefined) return;
  const id = { epoch: configuration.epoch, digest: configuration.digest };
  for (const observer of machine.observersOf(address)) {
    if (observer === self) machine.leaving(address);
    else links.send(observer, { kind: "leave", configuration: id, place });
  }
}

/** Between two times that a leave is said: whoever was told may be gone, or in another view. */
const againMs = 1_000;

/** Says that this node goes until the others have taken it out, or for so long. */
export async function leaveView(
  machine: Membership,
  timeoutMs: number,
  waits: Waits,
  say: () => void,
): Promise<void> {
  for (let leftMs = timeoutMs; leftMs > 0 && !machine.isEvicted; leftMs -= againMs) {
    say();
    await waits.until(() => machine.isEvicted, Math.min(leftMs, againMs));
  }
}
