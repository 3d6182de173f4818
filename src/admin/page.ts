/**
 * The index page: the embedded text with this node's facts in it. No script runs on it, and its
 * policy allows none; the one style sheet is allowed by its hash.
 */
import { encodeText } from "../base/bytes.ts";
import { routeAccess, routeNames, splitRoute } from "./access.ts";
import { assets } from "./assets.ts";
import type { JsonValue } from "../base/log_json.ts";
import type { MemberReport } from "./membership_schema.ts";
import type { NodeStatus } from "./parts.ts";
import type { ServiceReport, TopicReport } from "./schema.ts";

export interface PageFacts {
  readonly status: NodeStatus;
  /** Of the view that the node was in last; empty where there is none to show. */
  readonly members: readonly MemberReport[];
  readonly services: readonly ServiceReport[];
  readonly topics: readonly TopicReport[];
  /** Where the app is mounted. */
  readonly base: string;
}

/** More would only make the page long. */
const membersShownMax = 100;

/** Fills the page. */
export type PageMaker = (facts: PageFacts) => { readonly html: string; readonly policy: string };

/** Reads the embedded page, once. */
export async function loadPage(): Promise<PageMaker> {
  const template = assets.indexHtml;
  const style = /<style>([^]*?)<\/style>/.exec(template)?.[1] ?? "";
  const hash = await crypto.subtle.digest("SHA-256", Uint8Array.from(encodeText(style)));
  const policy = `default-src 'none'; style-src 'sha256-${base64(new Uint8Array(hash))}'; ` +
    `base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  return (facts) => ({ html: fill(template, facts), policy });
}

function fill(template: string, facts: PageFacts): string {
  const values: Readonly<Record<string, string>> = {
    name: escapeHtml(facts.status.name),
    base: escapeHtml(facts.base),
    node: nodeRows(facts.status),
    cluster: clusterSection(facts.status),
    members: membersSection(facts.members),
    routes: routeRows(facts),
    services: serviceRows(facts.services),
  };
  return template.replace(/\{\{ *(\w+) *\}\}/g, (_, key: string) => values[key] ?? "");
}

function nodeRows(status: NodeStatus): string {
  const { runtime } = status;
  const rows: [string, string][] = [
    ["version", status.version],
    ["node id", status.nodeId],
    ["runtime", `${runtime.name} ${runtime.version} on ${runtime.architecture}`],
    ["process", `${status.pid}, up ${duration(status.uptimeMs)}`],
    ["memory", `${Math.round(status.memory.rssBytes / 1024 / 1024)} MiB`],
  ];
  for (const name of Object.keys(status.listeners)) rows.push([name, status.listeners[name]]);
  const modules = Object.keys(status.modules);
  if (modules.length > 0) rows.push(["modules", modules.join(", ")]);
  return rows.map(([name, value]) => row(escapeHtml(name), escapeHtml(value))).join("\n");
}

/** What the modules of the cluster say about themselves; empty where all of them are off. */
function clusterSection({ modules }: NodeStatus): string {
  const rows = ["raft", "kv", "membership"].flatMap((module) =>
    Object.entries(modules[module] ?? {}).map(([name, value]) =>
      row(escapeHtml(`${module} ${name}`), escapeHtml(plainValue(value)))
    )
  );
  return rows.length === 0 ? "" : `<h2>Cluster</h2>\n<table>${rows.join("\n")}</table>`;
}

function membersSection(members: readonly MemberReport[]): string {
  if (members.length === 0) return "";
  const rows = members.slice(0, membersShownMax).map(({ name, address, role, nodeId }) =>
    row(escapeHtml(name), escapeHtml(`${address} (${role}), ${nodeId}`))
  );
  const rest = members.length - membersShownMax;
  if (rest > 0) rows.push(row(`and ${rest} more`, "<code>covey members</code> lists them all"));
  return `<h2>Members</h2>\n<table>${rows.join("\n")}</table>`;
}

function plainValue(value: JsonValue): string {
  if (value === null) return "none";
  if (typeof value !== "object") return String(value);
  return Object.values(value).map(plainValue).join(", ");
}

function routeRows({ base, topics }: PageFacts): string {
  return routeNames.map((route) => {
    const { method, path } = splitRoute(route);
    const { summary } = routeAccess[route];
    const followed = path === "/v1/events"
      ? ` (topics: ${topics.map(({ name }) => name).join(", ")})`
      : "";
    const shown = escapeHtml(base + path);
    const first = method === "GET"
      ? `<a href="${shown}"><code>${shown}</code></a>`
      : `<code>${method} ${shown}</code>`;
    return row(first, escapeHtml(summary + followed));
  }).join("\n");
}

function serviceRows(services: readonly ServiceReport[]): string {
  if (services.length === 0) return row("none", "");
  return services.map(({ name, methods }) => {
    const list = methods.map((method) =>
      method.kind === "unary" ? method.name : `${method.name} (${method.kind.replace("_", " ")})`
    );
    return row(`<code>${escapeHtml(name)}</code>`, escapeHtml(list.join(", ")));
  }).join("\n");
}

/** Both cells are HTML already. */
function row(first: string, second: string): string {
  return `<tr><td>${first}</td><td>${second}</td></tr>`;
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
