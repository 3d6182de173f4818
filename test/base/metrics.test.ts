import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { type MetricDeclaration, MetricsRegistry } from "../../src/base/metrics.ts";

const table = {
  writes: {
    name: "covey_test_writes_total",
    unit: "writes",
    help: "Writes that were taken.",
    kind: "counter",
  },
  queued: {
    name: "covey_test_queue_bytes",
    unit: "bytes",
    help: 'Bytes in the "send" queue, \\ and all.',
    kind: "gauge",
  },
  peers: {
    name: "covey_test_peer_errors_total",
    unit: "errors",
    help: "Errors by peer and kind.",
    kind: "counter",
    labels: ["peer", "kind"],
    seriesMax: 2,
  },
  sync: {
    name: "covey_test_sync_seconds",
    unit: "seconds",
    help: "Time of one sync.",
    kind: "histogram",
    labels: ["disk"],
    buckets: [0.001, 0.01, 1],
  },
} as const;

function filled(): MetricsRegistry {
  const registry = new MetricsRegistry();
  const metrics = registry.declare(table);
  metrics.writes.value++;
  metrics.writes.value += 2;
  metrics.queued.value = 1.5;
  metrics.peers.with('a"b\\c\nd', "reset").value++;
  metrics.peers.with("plain", "timeout").value += 3;
  const sync = metrics.sync.with("sda");
  for (const seconds of [0.001, 0.0011, 0.5, 7, 1]) sync.observe(seconds);
  return registry;
}

test("metrics: text exposition 0.0.4, byte by byte", () => {
  assert.equal(
    filled().expose("prometheus"),
    [
      "# HELP covey_limit_hit_total How often a limit was reached: a full queue, a frame too large," +
      " one client too many.",
      "# TYPE covey_limit_hit_total counter",
      'covey_limit_hit_total{limit="metric_series"} 0',
      "# HELP covey_test_peer_errors_total Errors by peer and kind.",
      "# TYPE covey_test_peer_errors_total counter",
      'covey_test_peer_errors_total{peer="a\\"b\\\\c\\nd",kind="reset"} 1',
      'covey_test_peer_errors_total{peer="plain",kind="timeout"} 3',
      '# HELP covey_test_queue_bytes Bytes in the "send" queue, \\\\ and all.',
      "# TYPE covey_test_queue_bytes gauge",
      "covey_test_queue_bytes 1.5",
      "# HELP covey_test_sync_seconds Time of one sync.",
      "# TYPE covey_test_sync_seconds histogram",
      'covey_test_sync_seconds_bucket{disk="sda",le="0.001"} 1',
      'covey_test_sync_seconds_bucket{disk="sda",le="0.01"} 2',
      'covey_test_sync_seconds_bucket{disk="sda",le="1"} 4',
      'covey_test_sync_seconds_bucket{disk="sda",le="+Inf"} 5',
      'covey_test_sync_seconds_sum{disk="sda"} 8.5021',
      'covey_test_sync_seconds_count{disk="sda"} 5',
      "# HELP covey_test_writes_total Writes that were taken.",
      "# TYPE covey_test_writes_total counter",
      "covey_test_writes_total 3",
      "",
    ].join("\n"),
  );
});

test("metrics: OpenMetrics differs in names, units, quotes and its end", () => {
  const text = filled().expose("openmetrics");
  assert.match(text, /^# TYPE covey_test_writes counter$/m);
  assert.match(text, /^covey_test_writes_total 3$/m);
  assert.match(text, /^# HELP covey_test_queue_bytes Bytes in the \\"send\\" queue/m);
  assert.match(text, /^# UNIT covey_test_queue_bytes bytes$/m);
  assert.match(text, /^# UNIT covey_test_sync_seconds seconds$/m);
  assert.ok(text.endsWith("\n# EOF\n"));
});

test("metrics: a name is declared once, and a bad table leaves nothing behind", () => {
  const registry = new MetricsRegistry();
  registry.declare({ writes: table.writes });
  assert.throws(
    () => registry.declare({ queued: table.queued, writes: table.writes }),
    (error) => error instanceof CoveyError && error.code === Code.alreadyExists,
  );
  assert.throws(
    () => registry.declare({ one: table.queued, two: table.queued }),
    (error) => error instanceof CoveyError && error.code === Code.alreadyExists,
  );
  registry.declare({ queued: table.queued });
});

test("metrics: a bad declaration says what is wrong", () => {
  const good: MetricDeclaration = {
    name: "covey_x_seconds",
    unit: "seconds",
    help: "A help.",
    kind: "gauge",
  };
  const cases: [Partial<MetricDeclaration>, RegExp][] = [
    [{ name: "x_seconds" }, /must be covey_/],
    [{ name: "covey_X_seconds" }, /lower-case/],
    [{ kind: "counter" }, /ends in _total/],
    [{ name: "covey_x_total", unit: "calls" }, /ends in _total/],
    [{ name: "covey_x_sum", unit: "things" }, /histograms' own/],
    [{ name: "covey_x" }, /unit seconds must end the name/],
    [{ help: "two\nlines" }, /one line/],
    [{ help: "" }, /one line/],
    [{ buckets: [1] }, /only a histogram/],
    [{ kind: "histogram", buckets: [1, 1] }, /ascend/],
    [{ kind: "histogram", buckets: [1, Infinity] }, /finite/],
    [{ labels: ["le"] }, /belongs to histograms/],
    [{ labels: ["a-b"] }, /lower-case words/],
  ];
  for (const [change, message] of cases) {
    const table = { bad: { ...good, ...change } };
    assert.throws(() => new MetricsRegistry().declare(table), message, JSON.stringify(change));
  }
});

test("metrics: label combinations beyond the limit share one series and are counted", () => {
  const registry = new MetricsRegistry();
  const { peers } = registry.declare(table);
  const first = peers.with("a", "x");
  assert.equal(peers.with("a", "x"), first);
  peers.with("b", "x").value++;
  for (let at = 0; at < 1000; at++) peers.with(`peer ${at}`, "x").value++;
  const text = registry.expose("prometheus");
  assert.match(text, /^covey_test_peer_errors_total\{peer="other",kind="other"\} 1000$/m);
  assert.match(text, /^covey_limit_hit_total\{limit="metric_series"\} 1000$/m);
  assert.equal(text.match(/^covey_test_peer_errors_total\{/gm)?.length, 3);
  // Room that was given back is used again.
  peers.remove("b", "x");
  peers.with("late", "x").value = 7;
  assert.match(registry.expose("prometheus"), /\{peer="late",kind="x"\} 7/);
  assert.throws(() => peers.with("one"), /takes 2 labels, 1 given/);
});

test("metrics: the limits' own family can overflow too", () => {
  const registry = new MetricsRegistry();
  for (let at = 0; at < 500; at++) registry.limit(`limit ${at}`).value++;
  const text = registry.expose("prometheus");
  assert.match(text, /^covey_limit_hit_total\{limit="other"\} 301$/m);
  assert.match(text, /^covey_limit_hit_total\{limit="metric_series"\} 301$/m);
});

test("metrics: values may be read at the scrape", () => {
  const registry = new MetricsRegistry();
  const metrics = registry.declare(table);
  let scrapes = 0;
  const cancel = registry.onScrape(() => metrics.queued.value = ++scrapes);
  metrics.writes.source = () => 42;
  assert.match(registry.expose("prometheus"), /^covey_test_queue_bytes 1$/m);
  assert.match(registry.expose("prometheus"), /^covey_test_queue_bytes 2$/m);
  assert.match(registry.expose("prometheus"), /^covey_test_writes_total 42$/m);
  cancel();
  registry.expose("prometheus");
  assert.equal(scrapes, 3);
});

test("metrics: histograms put values at and around the bounds where they belong", () => {
  const { h } = new MetricsRegistry().declare({
    h: { name: "covey_h", unit: "things", help: "H.", kind: "histogram", buckets: [1, 2, 4, 8] },
  });
  for (const value of [-1, 0, 1, 1.0001, 2, 3, 4, 8, 8.1, Infinity, NaN]) h.observe(value);
  assert.deepEqual([...h.counts], [3, 2, 2, 1, 2]);
  assert.equal(h.count, 10);
  // Against a naive twin.
  const bounds = [0.5, 1.5, 2.5];
  const { twin } = new MetricsRegistry().declare({
    twin: { name: "covey_twin", unit: "things", help: "T.", kind: "histogram", buckets: bounds },
  });
  const naive = [0, 0, 0, 0];
  for (let value = -1; value < 4; value += 0.125) {
    twin.observe(value);
    const at = bounds.findIndex((bound) => value <= bound);
    naive[at < 0 ? 3 : at]++;
  }
  assert.deepEqual([...twin.counts], naive);
});

test("metrics: infinite and missing values have their words", () => {
  const registry = new MetricsRegistry();
  const { g } = registry.declare({
    g: { name: "covey_g", unit: "things", help: "G.", kind: "gauge", labels: ["of"] },
  });
  g.with("up").value = Infinity;
  g.with("down").value = -Infinity;
  g.with("none").value = NaN;
  const text = registry.expose("prometheus");
  assert.match(text, /\{of="up"\} \+Inf$/m);
  assert.match(text, /\{of="down"\} -Inf$/m);
  assert.match(text, /\{of="none"\} NaN$/m);
});
