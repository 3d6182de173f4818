/** `/`: a plain page for whoever opens the address in a browser. */
import type { Gate, Visit } from "../gate.ts";
import type { EventHub } from "../hub.ts";
import type { PageMaker } from "../page.ts";
import type { AdminParts } from "../parts.ts";
import { textReply } from "../reply.ts";
import { reportServices } from "./report.ts";

export function pageRoutes(gate: Gate, parts: AdminParts, hub: EventHub): void {
  let maker: Promise<PageMaker> | undefined;
  gate.serve("GET /", async (visit: Visit) => {
    maker ??= import("../page.ts").then(({ loadPage }) => loadPage());
    const { html, policy } = (await maker)({
      status: await parts.status(),
      services: reportServices(parts.services),
      topics: hub.topics(),
      base: visit.base,
    });
    return textReply(html, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
    });
  });
}
