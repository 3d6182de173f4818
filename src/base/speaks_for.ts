/** Whether whoever is at the other end of a connection may speak for a node. */
import { Code, CoveyError } from "./error.ts";
import type { Identity } from "./identity.ts";

/** A certificate that names a node speaks for no other. */
export function identityProblem(identity: Identity, nodeId: string): CoveyError | undefined {
  if (identity.kind !== "certificate" || identity.nodeId === undefined) return undefined;
  if (identity.nodeId === nodeId) return undefined;
  return new CoveyError(
    Code.permissionDenied,
    `the certificate of node ${identity.nodeId} cannot speak for node ${nodeId}`,
  );
}
