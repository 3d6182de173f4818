/**
 * The OpenAPI document (https://spec.openapis.org/oas/v3.1.0), made of the tables that the routes
 * themselves use: access.ts, contract.ts and the schemas of inputs and answers.
 */
import * as z from "npm:zod@4.6.7";
import type { JsonObject } from "../base/log_json.ts";
import { callAction, routeAccess, routeNames, splitRoute } from "./access.ts";
import { contracts, type RouteContract, type TextAnswer } from "./contract.ts";
import type { AdminRoute, OpenApiDocument } from "./schema.ts";
import type { NamedSchema } from "./shape.ts";
import * as shapes from "./shapes.ts";

type Mutable = Record<string, JsonObject>;

/** `base` is where the app is mounted, "" for the node's own listener. */
export function openApiDocument(version: string, base: string): OpenApiDocument {
  const paths: Record<string, Mutable> = {};
  for (const route of routeNames) {
    const { method, path } = splitRoute(route);
    (paths[path] ??= {})[method.toLowerCase()] = operation(route);
  }
  paths["/{service}/{method}"] = { post: call };
  return {
    openapi: "3.1.0",
    info: {
      title: "covey's admin endpoint",
      version,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: base === "" ? "/" : base }],
    paths,
    components: {
      schemas: components(),
      responses: {
        Refused: {
          description: "What went wrong, and what to do about it.",
          content: { "application/json": { schema: reference("Error") } },
        },
      },
    },
  };
}

function components(): JsonObject {
  const registry = z.registry<{ id: string }>();
  for (const { name, schema } of shapes.shapes) registry.add(schema, { id: name });
  const made = z.toJSONSchema(registry, {
    // Fields may be added by later versions: what is not named is not forbidden.
    io: "input",
    uri: (id) => `#/components/schemas/${id}`,
  });
  return Object.fromEntries(
    Object.entries(made.schemas).map(([name, schema]) => [name, plain(schema)]),
  );
}

function operation(route: AdminRoute): JsonObject {
  const { action, resource, summary } = routeAccess[route];
  const contract = contracts[route] as RouteContract;
  const { description, query, body } = contract;
  return {
    operationId: operationId(route),
    tags: [resource],
    summary,
    ...(description === undefined ? {} : { description }),
    "x-covey-access": { action, resource },
    ...(query === undefined ? {} : { parameters: parameters(query) }),
    ...(body === undefined ? {} : {
      requestBody: { required: true, content: { "application/json": { schema: inline(body) } } },
    }),
    responses: {
      ...answers(contract),
      default: { $ref: "#/components/responses/Refused" },
    },
  };
}

function answers({ answer, unavailable }: RouteContract): JsonObject {
  const known: TextAnswer | NamedSchema = answer;
  if (!("schema" in known)) {
    const { type, description, status = 200 } = known;
    const answered: JsonObject = type === ""
      ? { description }
      : { description, content: { [type]: { schema: { type: "string" } } } };
    return { [status]: answered };
  }
  const { name } = known;
  const content = { "application/json": { schema: reference(name) } };
  return {
    200: { description: "As asked.", content },
    ...(unavailable === undefined ? {} : { 503: { description: "It is not.", content } }),
  };
}

function parameters(query: z.ZodObject): JsonObject[] {
  return Object.entries(query.shape).map(([name, field]) => {
    const { description, ...schema } = inline(field as z.ZodType);
    return {
      name,
      in: "query",
      required: false,
      ...(description === undefined ? {} : { description }),
      schema,
    };
  });
}

function inline(schema: z.ZodType): JsonObject {
  return plain(z.toJSONSchema(schema, { io: "input" }));
}

/** Without what the document says once for all. */
function plain(schema: object): JsonObject {
  const { $schema: _dialect, $id: _id, "~standard": _standard, ...rest } = schema as Record<
    string,
    never
  >;
  return rest;
}

function reference(name: string): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

/** `GET /v1/raft/peers` as `getV1RaftPeers`. */
function operationId(route: AdminRoute): string {
  const { method, path } = splitRoute(route);
  const words = path.split(/[/.]/).filter((word) => word !== "");
  return [method.toLowerCase(), ...(words.length === 0 ? ["index"] : words).map(capital)].join("");
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** Every service of the node; which there are stands in the status. */
const call: JsonObject = {
  operationId: "callService",
  tags: ["services"],
  summary: "calls a method of a service",
  description: "In the Connect protocol; /v1/status lists services and methods. Unary methods " +
    "take and give their message as JSON; methods that stream need a Connect client.",
  "x-covey-access": { action: callAction, resource: "{service}/{method}" },
  parameters: ["service", "method"].map((name) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  })),
  requestBody: {
    required: true,
    content: { "application/json": { schema: { type: "object" } } },
  },
  responses: {
    200: { description: "The message.", content: { "application/json": { schema: {} } } },
    default: { $ref: "#/components/responses/Refused" },
  },
};
