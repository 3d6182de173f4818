/** `/v1/status` and `/v1/config`: what the node is, and why it is so. */
import type { Gate } from "../gate.ts";
import type { EventHub } from "../hub.ts";
import type { AdminParts, AdminServices } from "../parts.ts";
import { jsonReply } from "../reply.ts";
import type { ServiceReport } from "../schema.ts";

export function reportRoutes(gate: Gate, parts: AdminParts, hub: EventHub): void {
  gate.serve("GET /v1/status", async () => {
    const status = await parts.status();
    const services = reportServices(parts.services);
    return jsonReply({ ...status, services, topics: hub.topics() }, 200);
  });
  gate.serve("GET /v1/config", () => jsonReply({ settings: parts.config() }, 200));
}

/** What can be called, sorted by name. */
export function reportServices(services: AdminServices): ServiceReport[] {
  return services.list().map((service) => ({
    name: service.typeName,
    methods: service.methods.map(({ name, methodKind }) => ({ name, kind: methodKind })),
  }));
}
