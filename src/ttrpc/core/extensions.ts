/**
 * What two covey peers add to ttrpc, and how they agree on it. The client offers with one metadata
 * key on a normal request; a server that knows it answers with field 100 of the response, which
 * others skip; the client confirms with a PONG. Only then, and never to anyone else, do frames of
 * types 4 to 9 travel, always on odd ids (docs/reference/ttrpc.md).
 */

/**
 * The metadata key of an offer. A service of another implementation may pass its metadata on with
 * the calls that it makes itself, the offer included: so the key alone does not say that the client
 * of this connection made it. The answer reaches no further than the connection, and only a client
 * that offered looks for it: its PONG is the proof.
 */
export const offerKey = "covey-extensions";

export const extensionVersion = 1;

/**
 * The call that a client offers with, so that every later call may use the extensions: any server
 * answers it, one without a health service with `unimplemented`, which is an answer too.
 */
export const helloService = "grpc.health.v1.Health";
export const helloMethod = "Check";

/** An offer's value: the version and the credit in bytes that the client gives each stream. */
export function formatOffer(windowBytes: number): string {
  return `${extensionVersion};window=${windowBytes}`;
}

/** The window of an offer that this side can follow; undefined for any other text. */
export function parseOffer(text: string): number | undefined {
  const match = /^(\d{1,3});window=(\d{1,10})$/.exec(text);
  if (match === null || Number(match[1]) < extensionVersion) return undefined;
  const windowBytes = Number(match[2]);
  return windowBytes >= 1024 && windowBytes <= 0xffffffff ? windowBytes : undefined;
}
