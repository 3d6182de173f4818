/** `/v1/openapi.json`: every route of this endpoint, for programs that read such things. */
import type { Gate } from "../gate.ts";
import { noParameters, readQuery } from "../input.ts";
import { jsonReply } from "../reply.ts";

export function openApiRoute(gate: Gate, { version }: { readonly version: string }): void {
  gate.serve("GET /v1/openapi.json", async (visit) => {
    readQuery(visit.url, noParameters);
    const { openApiDocument } = await import("../openapi.ts");
    return jsonReply(openApiDocument(version, visit.base), 200);
  });
}
