/**
 * Who a browser says it speaks for.
 *
 * A page on the internet can make a browser talk to this port in two ways. It can send requests
 * across origins, which carry `Origin` or `Sec-Fetch-Site`; and it can have its own name resolve
 * to 127.0.0.1 (DNS rebinding), in which case the browser takes this node for the page's own
 * server and only `Host` tells the difference. Both end here, before anything else is looked at.
 */

/** The names by which every machine calls itself. */
const loopbackNames: readonly string[] = ["localhost", "127.0.0.1", "::1"];

/** The `Host` values that are answered. */
export class AllowedHosts {
  readonly #names: Set<string> = new Set(loopbackNames);

  constructor(names: readonly string[]) {
    for (const name of names) this.add(name);
  }

  /** A name or address, with or without the brackets of IPv6. */
  add(name: string): void {
    this.#names.add(bare(name));
  }

  /** Whether `Host` names this node. The port is of no use: a rebound name has the right one. */
  has(host: string): boolean {
    const name = hostName(host);
    return name !== undefined && this.#names.has(name);
  }
}

function bare(name: string): string {
  const lower = name.toLowerCase();
  return lower.startsWith("[") && lower.endsWith("]") ? lower.slice(1, -1) : lower;
}

/** The name in a `Host` header; undefined when it is not one name with at most a port. */
export function hostName(host: string): string | undefined {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/.exec(host);
  return match === null ? undefined : bare(match[1]);
}

/** The `Host` of a request; from its address where a test or a program made the request itself. */
export function requestHost(request: Request): string {
  return request.headers.get("host") ?? new URL(request.url).host;
}

/**
 * Whether the request comes from a page of another origin. A request without any of these headers
 * comes from a program, or from an old browser that follows a link or loads an image.
 */
export function isForeign(request: Request): boolean {
  const origin = request.headers.get("origin");
  if (origin !== null) return !isSameOrigin(origin, requestHost(request));
  const site = request.headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return false;
  // A link on another page may open the index page, in a window of its own.
  const opensPage = request.method === "GET" &&
    request.headers.get("sec-fetch-mode") === "navigate" &&
    request.headers.get("sec-fetch-dest") === "document";
  return !opensPage;
}

function isSameOrigin(origin: string, host: string): boolean {
  const match = /^(https?):\/\/([^/?#@]+)$/.exec(origin.toLowerCase());
  if (match === null) return false;
  // Only the scheme decides what port an absent port is. It is the origin's, since a proxy in
  // front of a mounted app may have ended its TLS.
  const port = match[1] === "https" ? ":443" : ":80";
  return withPort(match[2], port) === withPort(host.toLowerCase(), port);
}

function withPort(host: string, port: string): string {
  return /:\d+$/.test(host) ? host : host + port;
}
