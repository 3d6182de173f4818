import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../src/base/log.ts";
import { createLog, type Log, type LogOptions } from "../src/log.ts";
import type { Clock, Host } from "../src/runtime/port.ts";

interface Terminal {
  readonly lines: string[];
  open(options?: Partial<LogOptions>): Promise<Log>;
}

function terminal(isTerminal: boolean, environment: Record<string, string> = {}): Terminal {
  const lines: string[] = [];
  const clock = { wallMs: () => 1795224600123 } as Clock;
  const host = {
    isTerminal: () => isTerminal,
    environment: (name: string) => environment[name],
    stderr: (text: string) => void lines.push(text),
  } as unknown as Host;
  const open = (options: Partial<LogOptions> = {}) =>
    createLog({ clock, host }, { level: "info", node: "gate-1", ...options });
  return { lines, open };
}

test("log: one JSON object a line where nobody watches", async () => {
  const { lines, open } = terminal(false);
  const { logger } = await open();
  logger.child("ttrpc").child("server").warning("connection refused", {
    peer: "tcp://10.0.0.1:5",
    limit: 64,
    absent: undefined,
    cause: new RangeError("two\nlines"),
  });
  logger.info("ready");
  assert.equal(lines.length, 2);
  assert.ok(lines.every((line) => line.endsWith("\n") && line.indexOf("\n") === line.length - 1));
  const first = JSON.parse(lines[0]);
  assert.deepEqual(Object.keys(first), [
    "time",
    "level",
    "component",
    "node",
    "message",
    "fields",
    "cause",
  ]);
  assert.equal(first.time, "2026-11-21T01:30:00.123Z");
  assert.equal(first.component, "ttrpc.server");
  assert.deepEqual(first.fields, { peer: "tcp://10.0.0.1:5", limit: 64 });
  assert.equal(first.cause.message, "two\nlines");
  assert.equal(
    lines[1],
    '{"time":"2026-11-21T01:30:00.123Z","level":"info","component":"node","node":"gate-1",' +
      '"message":"ready"}\n',
  );
});

test("log: readable text on a terminal, and nothing from outside can steer it", async () => {
  const { lines, open } = terminal(true, { NO_COLOR: "1" });
  const { logger } = await open();
  logger.child("demux").error("bad \x1b[2Jdevice\nname", {
    name: "two words",
    evil: "\x1b]0;title\x07",
    count: 3,
    cause: new TypeError("odd\x1b[31m"),
  });
  assert.equal(lines.length, 1);
  assert.match(
    lines[0],
    /^01:30:00\.123 ERR demux: bad \\x1b\[2Jdevice\\nname name="two words" evil=".*title.*" count=3\n {2}TypeError: odd\\x1b\[31m\n {4}at /,
  );
  assert.ok(!lines[0].includes("\x1b") && !lines[0].includes("\x07"));
});

test("log: colors only where they are wanted", async () => {
  for (
    const [environment, colored] of [
      [{}, true],
      [{ NO_COLOR: "" }, true],
      [{ NO_COLOR: "0" }, false],
      [{ TERM: "dumb" }, false],
    ] as const
  ) {
    const { lines, open } = terminal(true, environment);
    (await open()).logger.info("hello");
    assert.equal(lines[0].includes("\x1b["), colored, JSON.stringify(environment));
    assert.match(lines[0], /hello/);
  }
  const forced = terminal(false);
  (await forced.open({ format: "text" })).logger.info("hello");
  assert.equal(forced.lines[0], "01:30:00.123 INF node: hello\n");
});

test("log: the level can change while running, and is cheap to ask", async () => {
  const { lines, open } = terminal(false);
  const log = await open({ level: "warning" });
  const child = log.logger.child("kv");
  let built = 0;
  const talk = () => {
    if (child.enabled("debug")) child.debug("detail", { built: ++built });
    child.info("quiet");
  };
  talk();
  assert.deepEqual([lines.length, built], [0, 0]);
  log.level = "trace";
  assert.equal(log.level, "trace");
  talk();
  child.trace("all");
  assert.deepEqual([lines.length, built], [3, 1]);
  log.level = "error";
  child.warning("no");
  child.error("yes");
  assert.equal(lines.length, 4);
});

test("log: subscribers and LogTape sinks get every line; a failing sink fails nobody", async () => {
  const { lines, open } = terminal(false);
  const seen: string[] = [];
  const records: unknown[] = [];
  let failures = 0;
  const log = await open({
    sinks: [(record) => records.push(record), () => {
      failures++;
      throw new Error("disk full");
    }],
  });
  const subscription = log.subscribe((record) =>
    seen.push(`${record.component} ${record.message}`)
  );
  log.logger.child("bus").info("hello", { n: 1 });
  subscription.cancel();
  log.logger.info("again");
  assert.deepEqual(seen, ["bus hello"]);
  assert.equal(failures, 2);
  assert.deepEqual(records[0], {
    category: ["covey", "bus"],
    level: "info",
    message: ["hello"],
    rawMessage: "hello",
    timestamp: 1795224600123,
    properties: { n: 1, node: "gate-1" },
  });
  assert.equal(lines.length, 4);
  assert.equal(JSON.parse(lines[1]).message, "a log sink failed");
  assert.equal(JSON.parse(lines[1]).cause.message, "disk full");
});

test("log: format none writes nothing but still feeds subscribers", async () => {
  const { lines, open } = terminal(true);
  const log = await open({ format: "none" });
  let count = 0;
  log.subscribe(() => count++);
  log.logger.error("x");
  assert.deepEqual([lines.length, count], [0, 1]);
});

test("log: the silent logger is silent at every level", () => {
  assert.equal(silentLogger.enabled("error"), false);
  assert.equal(silentLogger.child("x"), silentLogger);
  silentLogger.error("nobody hears");
});
