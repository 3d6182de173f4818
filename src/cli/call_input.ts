/**
 * What `covey call` sends: the argument or standard input, JSON made into messages. What is wrong
 * with it is said with its line, and with the column or the field.
 */
import {
  type DescMessage,
  type DescMethod,
  fromJson,
  type JsonValue,
  type Message,
} from "npm:@bufbuild/protobuf@2.17.0";
import { CoveyError } from "../base/error.ts";
import { nearest } from "../config/nearest.ts";
import type { Runtime } from "../runtime/port.ts";
import type { Descriptors } from "./call_descriptors.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit.ts";
import { parseJson } from "./json_input.ts";

/** A line of input is a message: no longer than any message may be. */
const lineBytesMax = 64 << 20;

/** The messages of one call. */
export class CallInput {
  readonly #context: CliContext;
  readonly #method: DescMethod;
  readonly #registry: Descriptors["registry"];
  readonly #argument: string | undefined;
  /**
   * Why the input ended early. The call then fails with what reached the sender; this is what its
   * user is to be told.
   */
  error: unknown = undefined;

  constructor(
    context: CliContext,
    method: DescMethod,
    registry: Descriptors["registry"],
    argument: string | undefined,
  ) {
    this.#context = context;
    this.#method = method;
    this.#registry = registry;
    this.#argument = argument;
  }

  /** All messages, as they come. */
  async *messages(): AsyncGenerator<Message> {
    try {
      for await (const { text, source, line } of this.#texts()) {
        if (text.trim() !== "") yield this.#parse(text, source, line);
      }
    } catch (error) {
      this.error = error;
      throw error;
    }
  }

  /** The one message of a call that takes one: `{}` when there is no input. */
  async only(): Promise<Message> {
    for await (const message of this.messages()) return message;
    return this.#parse("{}", "the empty request", 1);
  }

  async *#texts(): AsyncGenerator<{ text: string; source: string; line: number }> {
    const byLine = this.#method.methodKind === "client_streaming" ||
      this.#method.methodKind === "bidi_streaming";
    let line = 1;
    if (this.#argument !== undefined && this.#argument !== "-") {
      const texts = byLine ? this.#argument.split("\n") : [this.#argument];
      for (const text of texts) yield { text, source: "the argument", line: line++ };
      return;
    }
    if (this.#argument === undefined && !byLine) return;
    const { runtime } = this.#context;
    if (runtime.host.isTerminal("stdin")) {
      this.#context.note(
        byLine
          ? "type one JSON object a line; Ctrl-D ends the input"
          : "type one JSON object; Ctrl-D ends the input",
      );
    }
    for await (const text of inputTexts(runtime, byLine)) {
      yield { text, source: "standard input", line: line++ };
    }
  }

  #parse(text: string, source: string, line: number): Message {
    const { input } = this.#method;
    const json = parseJson(text, source, line);
    try {
      checkShape(input, json);
      return fromJson(input, json, { registry: this.#registry });
    } catch (error) {
      throw new UsageError(`${source}, line ${line}: ${CoveyError.from(error).rawMessage}`);
    }
  }
}

/** The two mistakes that deserve better words than the library's. */
function checkShape(schema: DescMessage, json: JsonValue): void {
  // The JSON form of these is their own; keys in brackets are extensions.
  if (schema.typeName.startsWith("google.protobuf.")) return;
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    const found = JSON.stringify(json);
    const shown = found.length > 40 ? `${found.slice(0, 37)}...` : found;
    throw new UsageError(`${schema.typeName} is a JSON object, and this is ${shown}`);
  }
  const known = schema.fields.flatMap((field) => [field.jsonName, field.name]);
  for (const key of Object.keys(json)) {
    if (known.includes(key) || key.startsWith("[")) continue;
    const close = nearest(key, schema.fields.map((field) => field.jsonName));
    const fields = schema.fields.map((field) => field.jsonName).join(", ");
    const help = close !== undefined
      ? `did you mean ${close}?`
      : fields === ""
      ? "it has no fields at all"
      : `it has ${fields}`;
    throw new UsageError(`${schema.typeName} has no field ${JSON.stringify(key)}; ${help}`);
  }
}

/** Lines as they come, or the whole input at once. */
async function* inputTexts(runtime: Runtime, byLine: boolean): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pending = "";
  for await (const chunk of runtime.host.stdin()) {
    pending += decoder.decode(chunk, { stream: true });
    if (pending.length > lineBytesMax) {
      throw new UsageError("a message on standard input is longer than any message may be");
    }
    for (let end = pending.indexOf("\n"); byLine && end >= 0; end = pending.indexOf("\n")) {
      yield pending.slice(0, end);
      pending = pending.slice(end + 1);
    }
  }
  pending += decoder.decode();
  if (pending !== "") yield pending;
}
