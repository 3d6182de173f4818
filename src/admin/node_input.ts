/** Parameters of the paths that speak of the node itself. */
import * as z from "npm:zod@4.6.7";
import { wants } from "./input.ts";

/** Probes may add what they like: nothing else of the query is looked at. */
export const readyQuery = z.object({
  verbose: z.string(wants("text")).describe("Given at all: name every check, with its reason.")
    .optional(),
});

/** `topic` may be given several times. */
export const eventsQuery = z.strictObject({
  topic: z.string(wants("topics")).describe("Topics, divided by commas; without it, all of them.")
    .optional(),
  after: z.string(wants("an event's id")).describe(
    "The id of the last event that was seen; the header last-event-id says the same.",
  ).optional(),
});
