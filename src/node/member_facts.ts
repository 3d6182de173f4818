/** What this node says of itself to the other members: its labels, and which services it offers. */
import { decodeText, encodeText } from "../base/bytes.ts";
import type { Members } from "../membership/members.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";

/** Texts, one a line. */
export const tagsKey = "tags";
export const servicesKey = "services";
/** Namespaces of the cache for which it has a source, one a line. */
export const cacheKey = "cache";
/** Where it is on the map of round trips; see routing/core/coordinate.ts. */
export const coordinateKey = "coordinate";

/** What every node serves for the others, and no member is chosen for. */
const plumbing: ReadonlySet<string> = new Set([
  "covey.membership.v1.Membership",
  "covey.raft.v1.Transport",
]);

/** Says it now, and whenever the services change, until the function that it gives is called. */
export function sayFacts(
  members: Members,
  registry: ServiceRegistry,
  tags: readonly string[],
): () => void {
  if (tags.length > 0) members.say(tagsKey, encodeText(tags.join("\n")));
  let said = "";
  const say = (): void => {
    const names = registry.services().map(({ typeName }) => typeName);
    const text = names.filter((name) => !plumbing.has(name)).join("\n");
    if (text === said) return;
    said = text;
    members.say(servicesKey, encodeText(text));
  };
  say();
  return registry.onChange(say);
}

/** The texts of a fact; none of one that was not said, or is no text. */
export function linesOf(bytes: Uint8Array | undefined): string[] {
  const text = bytes === undefined ? undefined : decodeText(bytes);
  return text === undefined || text === "" ? [] : text.split("\n");
}
