/** Taking a member out of the view that may well be there: it leaves, or somebody sends it away. */
import type { Membership } from "./core/membership.ts";
import type { Links } from "./links.ts";

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
