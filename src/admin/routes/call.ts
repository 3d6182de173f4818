/** `/{service}/{method}`: every service of the node, by HTTP. */
import { Code } from "../../base/error.ts";
import { callAction } from "../access.ts";
import type { CallSlots } from "../call_slots.ts";
import type { ConnectEdge } from "../connect.ts";
import { HttpError } from "../error.ts";
import type { Gate } from "../gate.ts";
import type { AdminLimits, AdminParts } from "../parts.ts";

export interface CallRouteParts {
  readonly admin: AdminParts;
  readonly limits: AdminLimits;
  readonly slots: CallSlots;
  /** Fires when calls in flight must end. */
  readonly stop: AbortSignal;
}

export function callRoutes(gate: Gate, parts: CallRouteParts): void {
  const { admin, slots } = parts;
  let edge: Promise<ConnectEdge> | undefined;
  gate.calls(async (visit, serviceName, methodName, admit) => {
    const service = admin.services.find(serviceName);
    if (service === undefined) return undefined;
    const method = service.descriptor.methods.find(({ name }) => name === methodName);
    if (method === undefined) {
      throw new HttpError(
        404,
        Code.unimplemented,
        `service ${serviceName} has no method ${JSON.stringify(methodName)}`,
        { hint: `methods: ${service.descriptor.methods.map(({ name }) => name).join(", ")}` },
      );
    }
    admit(callAction, `${serviceName}/${methodName}`);
    const finished = slots.take();
    try {
      edge ??= loadEdge(parts);
      return await (await edge).serve(visit, service, method, finished);
    } catch (error) {
      finished();
      throw error;
    }
  });
}

/** Connect is only loaded by a node that is called over HTTP. */
async function loadEdge(parts: CallRouteParts): Promise<ConnectEdge> {
  const { ConnectEdge } = await import("../connect.ts");
  return new ConnectEdge({
    logger: parts.admin.logger,
    clock: parts.admin.runtime.clock,
    bodyBytesMax: parts.limits.bodyBytesMax,
    bodyLimitHit: () => void parts.admin.metrics.limit("admin_body_bytes").value++,
    stop: parts.stop,
    // Deno.serve over HTTP/1.1 (tried on 2.9.5); Bun.serve goes on reading.
    halfDuplex: parts.admin.runtime.name === "deno",
  });
}
