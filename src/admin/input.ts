/**
 * What comes with a request, checked: parameters of the address, and JSON bodies. Whatever does not
 * fit is answered with 400 and a sentence that names the parameter or field, what was found and
 * what is allowed.
 */
import * as z from "npm:zod@4.6.7";
import { concatBytes, decodeText } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Clock } from "../runtime/port.ts";
import { orAborted } from "./abort.ts";
import { HttpError } from "./error.ts";

/** Characters of a wrong value that the answer repeats. */
const shownMax = 60;
/** For a body to arrive as a whole: a client that dawdles holds a place. */
const bodyTimeoutMs = 30_000;

/** A schema's `error`: what was found and what is allowed, as the rest of a sentence. */
export function wants(what: string): { error: (issue: { readonly input?: unknown }) => string } {
  return {
    error: ({ input }) =>
      input === undefined ? `is missing: ${what}` : `${shown(input)} is not ${what}`,
  };
}

/** A whole number. */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): z.ZodInt {
  const problem = wants(
    most === Number.MAX_SAFE_INTEGER
      ? `a whole number from ${least} on`
      : `a whole number from ${least} to ${most}`,
  );
  return z.int(problem).min(least, problem).max(most, problem);
}

export function flag(): z.ZodBoolean {
  return z.boolean(wants("true or false"));
}

/** The parameters behind `?`. Numbers and flags are read as what the schema wants them to be. */
export function readQuery<S extends z.ZodObject>(url: URL, schema: S): z.output<S> {
  const given: Record<string, unknown> = {};
  for (const [name, text] of url.searchParams) {
    if (Object.hasOwn(given, name)) throw invalid(`${name}: given twice`, "give it once");
    given[name] = Object.hasOwn(schema.shape, name) ? fromText(schema.shape[name], text) : text;
  }
  return check(schema, given, "parameter");
}

/** Where a body's size and time are bounded. */
export interface BodyLimits {
  readonly clock: Clock;
  readonly bytesMax: number;
  /** Called when a body turns out to be larger. */
  readonly exceeded: () => void;
}

/** For a path that takes no parameters. */
export const noParameters = z.strictObject({});

/** The body as a JSON object. Parameters beside it would be overlooked, so there may be none. */
export async function readJson<S extends z.ZodObject>(
  { request, url }: { readonly request: Request; readonly url: URL },
  limits: BodyLimits,
  schema: S,
): Promise<z.output<S>> {
  readQuery(url, noParameters);
  const text = decodeText(await readBody(request, limits));
  if (text === undefined) throw invalid("the body is not UTF-8", "send JSON as UTF-8");
  if (text.trim() === "") throw invalid("the body is empty", "send a JSON object, {} at least");
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    // What the engine says about it differs from engine to engine.
    throw invalid("the body is not JSON", "send a JSON object");
  }
  return check(schema, given, "field");
}

function check<S extends z.ZodObject>(
  schema: S,
  given: unknown,
  what: "parameter" | "field",
): z.output<S> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue.code === "unrecognized_keys") {
    const known = Object.keys(schema.shape);
    throw invalid(
      `no ${what} ${shown(issue.keys[0])}`,
      known.length === 0 ? "this path takes none" : `${what}s: ${known.join(", ")}`,
    );
  }
  if (issue.path.length === 0) {
    throw invalid(`the body: ${shown(given)} is not a JSON object`, "send a JSON object");
  }
  throw invalid(`${issue.path.join(".")}: ${issue.message}`);
}

/** A request that this node cannot make sense of. */
export function invalid(message: string, hint?: string): HttpError {
  return new HttpError(400, Code.invalidArgument, message, { hint });
}

function fromText(schema: z.core.$ZodType, text: string): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional) inner = inner.unwrap();
  if (inner instanceof z.ZodNumber && /^-?\d{1,16}$/.test(text)) return Number(text);
  // A flag without a value is set.
  if (inner instanceof z.ZodBoolean && (text === "" || text === "true")) return true;
  if (inner instanceof z.ZodBoolean && text === "false") return false;
  return text;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= shownMax ? text : `${text.slice(0, shownMax)}…`;
}

async function readBody(request: Request, limits: BodyLimits): Promise<Uint8Array> {
  const { clock, bytesMax, exceeded } = limits;
  const reader = request.body?.getReader();
  if (reader === undefined) return new Uint8Array(0);
  const late = new AbortController();
  const timer = clock.timer(bodyTimeoutMs, (controller) => {
    controller.abort(
      new HttpError(
        408,
        Code.deadlineExceeded,
        `the body did not arrive within ${bodyTimeoutMs} ms`,
      ),
    );
  }, late);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await orAborted(reader.read(), late.signal);
      if (done) return concatBytes(chunks);
      bytes += value.length;
      if (bytes > bytesMax) {
        exceeded();
        throw new HttpError(
          413,
          Code.resourceExhausted,
          `the body is larger than ${bytesMax} bytes`,
          { hint: "send less, or raise admin.body_bytes_max" },
        );
      }
      chunks.push(value);
    }
  } catch (error) {
    // Not awaited: a body that hangs would never answer.
    reader.cancel().catch(() => {});
    if (error instanceof HttpError) throw error;
    throw new CoveyError(Code.canceled, "the request broke off", { cause: error });
  } finally {
    timer.cancel();
  }
}
