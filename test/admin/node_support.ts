/** A real node of one voter, in memory, whose admin endpoint is asked without a socket. */
import assert from "node:assert/strict";
import type { ErrorReport } from "../../src/admin/schema.ts";
import type { Node } from "../../src/node.ts";
import type { StartOptions } from "../../src/start.ts";
import { startQuiet } from "../node/support.ts";

export interface AskOptions {
  readonly method?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export class AdminNode implements AsyncDisposable {
  readonly node: Node;

  constructor(node: Node) {
    this.node = node;
  }

  /** Resolves when it leads and has applied what there is. */
  static async start(options: StartOptions = {}): Promise<AdminNode> {
    const started = new AdminNode(await AdminNode.startNode(options));
    await started.node.kv.get("nothing");
    return started;
  }

  /** It may still be without a leader. */
  static async startNode(options: StartOptions = {}): Promise<Node> {
    return await startQuiet({
      dev: true,
      ...options,
      raft: { heartbeat_interval: "10ms", election_timeout: "50ms", ...options.raft },
      admin: { enabled: true },
    });
  }

  async ask(path: string, { method, body, headers }: AskOptions = {}): Promise<Response> {
    const isJson = body !== undefined;
    return await this.node.admin.request(`http://127.0.0.1${path}`, {
      method: method ?? (isJson ? "POST" : "GET"),
      headers: { ...(isJson ? { "content-type": "application/json" } : {}), ...headers },
      body: isJson ? JSON.stringify(body) : undefined,
    });
  }

  /** The answer, which must be 200. */
  async json<T>(path: string, options: AskOptions = {}): Promise<T> {
    const response = await this.ask(path, options);
    const text = await response.text();
    assert.equal(response.status, 200, `${path}: ${text}`);
    return JSON.parse(text) as T;
  }

  /** The refusal, which must have this status. */
  async refused(status: number, path: string, options: AskOptions = {}): Promise<ErrorReport> {
    const response = await this.ask(path, options);
    const text = await response.text();
    assert.equal(response.status, status, `${path}: ${text}`);
    const report = JSON.parse(text) as ErrorReport;
    assert.match(report.message, /\S \S/, "a sentence, not a word");
    return report;
  }

  /** One series of the metrics; undefined when there is none. */
  metric(series: string): number | undefined {
    const line = this.node.metrics.expose("prometheus").split("\n").find((one) =>
      one.startsWith(`${series} `)
    );
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.stop();
  }
}

/** One server-sent event. */
export interface SentEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events one by one. */
export class EventReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(response: Response) {
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
    this.#reader = response.body!.getReader();
  }

  /** The next event; undefined at the end of the stream. Comments are left out. */
  async next(): Promise<SentEvent | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const block = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        const parsed = parse(block);
        if (parsed !== undefined) return parsed;
        continue;
      }
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  /** The next event that fits; fails at the end of the stream. */
  async until(fits: (event: SentEvent) => boolean): Promise<SentEvent> {
    for (;;) {
      const event = await this.next();
      assert.ok(event !== undefined, "the stream ended");
      if (fits(event)) return event;
    }
  }

  leave(): Promise<void> {
    return this.#reader.cancel();
  }
}

function parse(block: string): SentEvent | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
  const event = field("event");
  if (event === undefined) return undefined;
  return { event, id: field("id"), data: JSON.parse(field("data") ?? "{}") };
}
