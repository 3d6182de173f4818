/** Answers whose types Hono's client can read. */
import type { TypedResponse } from "npm:hono@4.13.19";

/** A JSON answer, ended by a line feed for people who use curl. */
export function jsonReply<T, S extends 200 | 503>(
  body: T,
  status: S,
): Response & TypedResponse<T, S, "json"> {
  return new Response(JSON.stringify(body) + "\n", {
    status,
    headers: { "content-type": "application/json" },
  }) as Response & TypedResponse<T, S, "json">;
}

/** Of server-sent events. */
export const eventHeaders: Readonly<Record<string, string>> = {
  "content-type": "text/event-stream; charset=utf-8",
  // Tells nginx and its kin not to hold events back.
  "x-accel-buffering": "no",
};

/** Text of any type, or a stream of it. */
export function textReply(
  body: string | ReadableStream<Uint8Array> | null,
  headers: Readonly<Record<string, string>>,
): Response & TypedResponse<string, 200, "text"> {
  return new Response(body, { headers }) as Response & TypedResponse<string, 200, "text">;
}
