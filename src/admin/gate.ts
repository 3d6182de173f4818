/**
 * The way into every route. In this order: Host, Origin, content type and size, identity,
 * authorization; only then the handler runs. Whatever is thrown on the way becomes a JSON answer,
 * and every answer carries the same protecting headers.
 *
 * The checks wrap each route instead of standing before all of them, so that a program which
 * mounts the app keeps its own routes to itself.
 */
import type { Context, Hono } from "npm:hono@4.13.19";
import { Code } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import type { Counter, Family } from "../base/metrics.ts";
import type { HttpContext } from "../runtime/port.ts";
import { allowedMethods, routeAccess, routePaths, splitRoute } from "./access.ts";
import { errorResponse, HttpError } from "./error.ts";
import { type AllowedHosts, isForeign, requestHost } from "./origin.ts";
import type { AdminLimits, AdminParts } from "./parts.ts";
import type { AdminEnv, AdminRoute, Reply } from "./schema.ts";

/** One request that was let in. */
export interface Visit {
  readonly request: Request;
  readonly url: URL;
  readonly identity: Identity;
  /** Absent where the app is mounted in somebody else's server. */
  readonly http: HttpContext | undefined;
  /** Where the app is mounted: "" or "/covey". */
  readonly base: string;
  /** Set by whoever turned the request into a WebSocket: its answer belongs to the runtime. */
  upgraded: boolean;
}

type AdminContext = Context<AdminEnv>;

const securityHeaders: readonly (readonly [string, string])[] = [
  ["x-content-type-options", "nosniff"],
  ["cache-control", "no-store"],
  ["referrer-policy", "no-referrer"],
  ["cross-origin-resource-policy", "same-origin"],
  ["x-frame-options", "DENY"],
];

/** For everything that is not a page. */
const closedPolicy = "default-src 'none'; frame-ancestors 'none'";

/** What a body may be; a form on a foreign page can send none of these. */
const jsonTypes: ReadonlySet<string> = new Set(["application/json"]);
const bodyTypes: ReadonlySet<string> = new Set([
  "application/json",
  "application/proto",
  "application/connect+json",
  "application/connect+proto",
]);

export class Gate {
  readonly #app: Hono<AdminEnv>;
  readonly #parts: AdminParts;
  readonly #limits: AdminLimits;
  readonly #hosts: AllowedHosts;
  readonly #requests: Family<Counter>;
  readonly #refused: Family<Counter>;

  constructor(
    app: Hono<AdminEnv>,
    parts: AdminParts,
    limits: AdminLimits,
    hosts: AllowedHosts,
    counters: { readonly requests: Family<Counter>; readonly refused: Family<Counter> },
  ) {
    this.#app = app;
    this.#parts = parts;
    this.#limits = limits;
    this.#hosts = hosts;
    this.#requests = counters.requests;
    this.#refused = counters.refused;
  }

  /** Serves one route; with GET comes HEAD. */
  serve<R extends AdminRoute>(
    route: R,
    handler: (visit: Visit) => Reply<R> | Promise<Reply<R>>,
  ): void {
    const { action, resource, health = false } = routeAccess[route];
    const { method, path } = splitRoute(route);
    this.#app.on(method, path, (context) =>
      this.#answer(context, path, async (come) => {
        this.#checkHost(context.req.raw);
        if (!health) this.#checkOrigin(context.req.raw);
        // Only what takes a body has to say what it is.
        if (method === "POST" || method === "PUT") this.#checkBody(context.req.raw, jsonTypes);
        const visit = come(path);
        this.#authorize(visit.identity, action, resource);
        return await handler(visit);
      }));
  }

  /** Tells every other method of the paths what they take. To be called behind all routes. */
  refuseOtherMethods(): void {
    for (const path of routePaths) {
      this.#app.all(path, (context) =>
        this.#answer(context, path, () => {
          this.#checkHost(context.req.raw);
          this.#checkOrigin(context.req.raw);
          throw methodNotAllowed(context.req.raw, allowedMethods(path).join(", "));
        }));
    }
  }

  /**
   * Serves `/service/method` in every method that the handler takes; undefined from it leaves the
   * path to whoever comes next.
   */
  calls(
    handler: (
      visit: Visit,
      service: string,
      method: string,
      admit: (action: string, resource: string) => void,
    ) => Promise<Response | undefined>,
  ): void {
    const path = "/:service/:method";
    this.#app.all(path, async (context, next) => {
      const { service, method } = context.req.param();
      if (this.#parts.services.find(service) === undefined) return await next();
      return await this.#answer(context, "/{service}/{method}", async (come) => {
        const { raw } = context.req;
        this.#checkHost(raw);
        this.#checkOrigin(raw);
        if (raw.method !== "GET" && raw.method !== "HEAD") this.#checkBody(raw, bodyTypes);
        const visit = come(`/${service}/${method}`);
        const admit = (action: string, resource: string) =>
          this.#authorize(visit.identity, action, resource);
        const response = await handler(visit, service, method, admit);
        if (response === undefined) throw noSuchPath(raw);
        return response;
      });
    });
  }

  /** Answers what no route took. */
  notFound(): void {
    this.#app.notFound((context) =>
      this.#answer(context, "other", () => {
        this.#checkHost(context.req.raw);
        this.#checkOrigin(context.req.raw);
        throw noSuchPath(context.req.raw);
      })
    );
  }

  async #answer(
    context: AdminContext,
    route: string,
    work: (come: (path: string) => Visit) => Response | Promise<Response>,
  ): Promise<Response & Reply<AdminRoute>> {
    let visit: Visit | undefined;
    let response: Response;
    try {
      response = await work((path) => visit = this.#visit(context, path));
    } catch (error) {
      if (!(error instanceof HttpError)) {
        this.#parts.logger.warning("request failed", { route, cause: error });
      }
      response = errorResponse(error);
    }
    this.#requests.with(route, String(response.status)).value++;
    if (visit?.upgraded !== true) {
      if (context.req.method === "HEAD") await announceLength(response);
      for (const [name, value] of securityHeaders) response.headers.set(name, value);
      if (!response.headers.has("content-security-policy")) {
        response.headers.set("content-security-policy", closedPolicy);
      }
    }
    return response as Response & Reply<AdminRoute>;
  }

  #checkHost(request: Request): void {
    const host = requestHost(request);
    if (this.#hosts.has(host)) return;
    this.#refused.with("host").value++;
    throw new HttpError(403, Code.permissionDenied, `Host ${JSON.stringify(host)} is refused`, {
      hint: "use the bound address or localhost, or add the name to admin.allowed_hosts",
    });
  }

  #checkOrigin(request: Request): void {
    if (!isForeign(request)) return;
    this.#refused.with("origin").value++;
    const origin = request.headers.get("origin");
    throw new HttpError(
      403,
      Code.permissionDenied,
      origin === null
        ? "a page of another origin asks"
        : `a page of another origin asks: ${JSON.stringify(origin)}`,
      { hint: "open the page on this address, or ask from a program, which sends no Origin" },
    );
  }

  #checkBody(request: Request, types: ReadonlySet<string>): void {
    const type = request.headers.get("content-type");
    const essence = (type ?? "").split(";")[0].trim().toLowerCase();
    if (!types.has(essence)) {
      throw new HttpError(
        415,
        Code.invalidArgument,
        type === null ? "no Content-Type" : `Content-Type ${JSON.stringify(type)} is not taken`,
        {
          hint: "send application/json (curl -H 'content-type: application/json' -d '{}')" +
            (types === bodyTypes ? ", or use a Connect client" : ""),
        },
      );
    }
    const length = request.headers.get("content-length");
    if (length !== null && Number(length) > this.#limits.bodyBytesMax) {
      this.#parts.metrics.limit("admin_body_bytes").value++;
      throw new HttpError(
        413,
        Code.resourceExhausted,
        `the body of ${length} bytes is larger than ${this.#limits.bodyBytesMax}`,
        { hint: "send less, or raise admin.body_bytes_max" },
      );
    }
  }

  #visit(context: AdminContext, path: string): Visit {
    const request = context.req.raw;
    // A program's own server may pass nothing, or an environment of its own.
    const http = (context.env as AdminEnv["Bindings"] | undefined)?.covey;
    const identity = context.get("coveyIdentity") ?? this.#parts.identify(request, http);
    const url = new URL(request.url);
    // The index of an app that is mounted at /covey is /covey itself.
    const tail = path === "/" && !url.pathname.endsWith("/") ? "" : path;
    const base = url.pathname.slice(0, url.pathname.length - tail.length);
    return { request, url, identity, http, base, upgraded: false };
  }

  #authorize(identity: Identity, action: string, resource: string): void {
    if (this.#parts.authorize(identity, action, resource)) return;
    if (identity.kind === "anonymous") {
      throw new HttpError(
        401,
        Code.unauthenticated,
        `${action} on ${resource} needs an identity, and this request has none`,
        {
          hint:
            "ask the node's own listener on its machine, or have the program that mounts this " +
            "say who asks",
          headers: { "www-authenticate": 'Bearer realm="covey"' },
        },
      );
    }
    throw new HttpError(
      403,
      Code.permissionDenied,
      `${identity.kind} identity ${JSON.stringify(identity.name)} may not ${action} on ${resource}`,
      { hint: "ask from this machine, or with an identity that is allowed to" },
    );
  }
}

/**
 * Hono takes the body away from the answer to HEAD, and both runtimes would then say that it has
 * no bytes: the length must be the one that GET would give (RFC 9110, section 8.6).
 */
async function announceLength(response: Response): Promise<void> {
  if (response.body === null) return;
  const { byteLength } = await response.clone().arrayBuffer();
  response.headers.set("content-length", String(byteLength));
}

/** 405, with what is taken instead. */
export function methodNotAllowed(request: Request, allow: string, hint?: string): HttpError {
  return new HttpError(
    405,
    Code.unimplemented,
    `${request.method} is not taken by ${new URL(request.url).pathname}`,
    { hint: hint ?? `use ${allow}`, headers: { allow } },
  );
}

function noSuchPath(request: Request): HttpError {
  return new HttpError(404, Code.notFound, `nothing is at ${new URL(request.url).pathname}`, {
    hint: "GET / lists what is; a service's method is POST /{service}/{method}",
  });
}
