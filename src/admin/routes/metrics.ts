/** `/metrics`: the registry as Prometheus asks for it. */
import type { Gate } from "../gate.ts";
import type { AdminParts } from "../parts.ts";
import { textReply } from "../reply.ts";

export function metricsRoutes(gate: Gate, parts: AdminParts): void {
  gate.serve("GET /metrics", ({ request }) => {
    const open = (request.headers.get("accept") ?? "").includes("application/openmetrics-text");
    return textReply(parts.metrics.expose(open ? "openmetrics" : "prometheus"), {
      "content-type": open
        ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
        : "text/plain; version=0.0.4; charset=utf-8",
    });
  });
}
