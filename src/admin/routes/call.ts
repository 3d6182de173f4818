/** `/{service}/{method}`: every service of the node, by HTTP. */
import { Code } from "../../base/error.ts";
import type { Gauge } from "../../base/metrics.ts";
import { callAction } from "../access.ts";
import type { ConnectEdge } from "../connect.ts";
import { HttpError } from "../error.ts";
import type { Gate } from "../gate.ts";
import type { AdminLimits, AdminParts } from "../parts.ts";

export interface CallRouteParts {
  readonly admin: AdminParts;
  readonly limits: AdminLimits;
  readonly active: Gauge;
  /** Fires when calls in flight must end. */
  readonly stop: AbortSignal;
}

export function callRoutes(gate: Gate, parts: CallRouteParts): void {
  const { admin, limits, active } = parts;
  const limitHit = admin.metrics.limit("admin_calls");
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
    if (active.value >= limits.callsMax) {
      limitHit.value++;
      throw new HttpError(
        429,
        Code.resourceExhausted,
        `${limits.callsMax} calls over HTTP run already`,
        { hint: "try again", headers: { "retry-after": "1" } },
      );
    }
    active.value++;
    let over = false;
    const finished = () => {
      if (!over) active.value--;
      over = true;
    };
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
