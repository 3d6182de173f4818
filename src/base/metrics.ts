/**
 * The node's numbers, in memory and as Prometheus reads them.
 *
 * A module declares a table of metrics once and gets back plain objects. Counting is then a field
 * that goes up, observing is a search over a few fixed bounds: no string, no map, no allocation on
 * the hot path. Text exists only while somebody scrapes.
 *
 * Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ (text 0.0.4) and
 * https://prometheus.io/docs/specs/om/open_metrics_spec/ (OpenMetrics 1.0).
 */
import { Code, CoveyError } from "./error.ts";

export type MetricKind = "counter" | "gauge" | "histogram";

/** One row of a module's table. */
export interface MetricDeclaration {
  /** `covey_<module>_<what>`, with the unit behind it; a counter ends in `_total`. */
  readonly name: string;
  /** What one is: `seconds`, `bytes`, `requests`. Base units only. */
  readonly unit: string;
  /** One sentence for the operator. */
  readonly help: string;
  readonly kind: MetricKind;
  /** Label names. Their values must come from a small set. */
  readonly labels?: readonly string[];
  /** Upper bounds of a histogram, ascending, without the infinite one. */
  readonly buckets?: readonly number[];
  /** Label combinations kept apart; the rest share one series. Default {@link seriesMaxDefault}. */
  readonly seriesMax?: number;
}

/** A module's metrics by the name that its code uses. */
export type MetricTable = Readonly<Record<string, MetricDeclaration>>;

/** Label combinations of one metric before the rest share the series whose labels are `other`. */
export const seriesMaxDefault = 100;

/** From 100 µs to 10 s, for anything that waits for a disk or a peer. */
export const secondsBuckets: readonly number[] = [
  0.0001,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  10,
];

/** A number that only goes up. Hot paths write `counter.value++`. */
export class Counter {
  value = 0;
  /** Where set, the scrape reads this instead of `value`: for counts that live elsewhere. */
  source: (() => number) | undefined = undefined;
}

/** A number that goes both ways. */
export class Gauge {
  value = 0;
  /** Where set, the scrape reads this instead of `value`. */
  source: (() => number) | undefined = undefined;
}

/** How often observations fell below each of some fixed bounds, with their count and sum. */
export class Histogram {
  readonly bounds: Float64Array;
  /** One more than there are bounds: the last counts what lies above all of them. */
  readonly counts: Float64Array;
  count = 0;
  sum = 0;

  constructor(buckets: readonly number[]) {
    this.bounds = Float64Array.from(buckets);
    this.counts = new Float64Array(buckets.length + 1);
  }

  /** Anything but a number is left out: it would make the sum useless for ever. */
  observe(value: number): void {
    if (Number.isNaN(value)) return;
    const bounds = this.bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= bounds[middle]) high = middle;
      else low = middle + 1;
    }
    this.counts[low]++;
    this.count++;
    this.sum += value;
  }
}

/**
 * One metric with labels. `with` is for set-up: keep what it returns, and count on that. Once
 * `seriesMax` combinations exist, every further one is the series whose labels are all `other`.
 */
export class Family<T> {
  readonly declaration: MetricDeclaration;
  readonly #series: Map<string, Series<T>> = new Map();
  readonly #make: () => T;
  readonly #limitHit: () => Counter;
  #other: Series<T> | undefined = undefined;

  constructor(declaration: MetricDeclaration, make: () => T, limitHit: () => Counter) {
    this.declaration = declaration;
    this.#make = make;
    this.#limitHit = limitHit;
  }

  /** The instrument of these label values, in the declared order. */
  with(...values: string[]): T {
    const labels = this.declaration.labels ?? [];
    if (values.length !== labels.length) {
      throw new CoveyError(
        Code.internal,
        `metric ${this.declaration.name} takes ${labels.length} labels, ${values.length} given`,
      );
    }
    const key = values.length === 1 ? values[0] : values.join("\u0000");
    const known = this.#series.get(key);
    if (known !== undefined) return known.instrument;
    if (this.#series.size >= (this.declaration.seriesMax ?? seriesMaxDefault)) {
      this.#limitHit().value++;
      this.#other ??= { values: labels.map(() => "other"), instrument: this.#make() };
      return this.#other.instrument;
    }
    const series = { values, instrument: this.#make() };
    this.#series.set(key, series);
    return series.instrument;
  }

  /** Forgets one combination, of a peer that left for instance. */
  remove(...values: string[]): void {
    this.#series.delete(values.length === 1 ? values[0] : values.join("\u0000"));
  }

  /** In the order of their making, the shared one last. */
  *series(): IterableIterator<Series<T>> {
    yield* this.#series.values();
    if (this.#other !== undefined) yield this.#other;
  }
}

/** One combination of label values. */
export interface Series<T> {
  readonly values: readonly string[];
  readonly instrument: T;
}

type OfKind<K extends MetricKind> = K extends "counter" ? Counter
  : K extends "gauge" ? Gauge
  : Histogram;

/** What a table's rows become. */
export type Instruments<T extends MetricTable> = {
  readonly [K in keyof T]: T[K] extends { readonly labels: readonly [string, ...string[]] }
    ? Family<OfKind<T[K]["kind"]>>
    : OfKind<T[K]["kind"]>;
};

/** The metrics of the registry itself. */
export const limitMetrics = {
  limitHit: {
    name: "covey_limit_hit_total",
    unit: "hits",
    help: "How often a limit was reached: a full queue, a frame too large, one client too many.",
    kind: "counter",
    labels: ["limit"],
    seriesMax: 200,
  },
} as const;

/** All metrics of one node. There is no global one. */
export class MetricsRegistry {
  readonly #families: Map<string, Family<Counter | Gauge | Histogram>> = new Map();
  readonly #collectors: Set<() => void> = new Set();
  readonly #limits: Family<Counter>;

  constructor() {
    this.#limits = this.declare(limitMetrics).limitHit;
    // Made before anything can fill this family, whose own overflow is counted here.
    this.#limits.with("metric_series");
  }

  /** Makes the instruments of a table; `already_exists` when a name is taken. */
  declare<const T extends MetricTable>(table: T): Instruments<T> {
    // All rows are looked at before the first is taken, so that a bad table leaves nothing behind.
    const names = new Set<string>(this.#families.keys());
    for (const key of Object.keys(table)) {
      const { name } = table[key];
      checkDeclaration(table[key]);
      if (names.has(name)) {
        throw new CoveyError(Code.alreadyExists, `metric ${name} is declared twice`);
      }
      names.add(name);
    }
    const instruments: Record<string, unknown> = {};
    for (const key of Object.keys(table)) {
      const declaration = table[key];
      const family = new Family(
        declaration,
        () => makeInstrument(declaration),
        () => this.limit("metric_series"),
      );
      this.#families.set(declaration.name, family);
      instruments[key] = (declaration.labels ?? []).length > 0 ? family : family.with();
    }
    return instruments as Instruments<T>;
  }

  /** The counter of one limit; every queue, frame, watch and retry that is bounded has one. */
  limit(name: string): Counter {
    return this.#limits.with(name);
  }

  /** Calls back before every scrape, until the returned function is called. */
  onScrape(collect: () => void): () => void {
    this.#collectors.add(collect);
    return () => this.#collectors.delete(collect);
  }

  /** Sorted by name. */
  declarations(): MetricDeclaration[] {
    return this.#sorted().map((family) => family.declaration);
  }

  /** The whole registry as text. */
  expose(format: "prometheus" | "openmetrics"): string {
    for (const collect of this.#collectors) collect();
    const lines: string[] = [];
    for (const family of this.#sorted()) exposeFamily(lines, family, format === "openmetrics");
    if (format === "openmetrics") lines.push("# EOF");
    return lines.join("\n") + "\n";
  }

  #sorted(): Family<Counter | Gauge | Histogram>[] {
    return [...this.#families.values()].sort((a, b) =>
      a.declaration.name < b.declaration.name ? -1 : 1
    );
  }
}

function makeInstrument(declaration: MetricDeclaration): Counter | Gauge | Histogram {
  switch (declaration.kind) {
    case "counter":
      return new Counter();
    case "gauge":
      return new Gauge();
    case "histogram":
      return new Histogram(declaration.buckets ?? secondsBuckets);
  }
}

function checkDeclaration(declaration: MetricDeclaration): void {
  const wrong = whatIsWrong(declaration);
  if (wrong === undefined) return;
  throw new CoveyError(Code.invalidArgument, `metric ${declaration.name}: ${wrong}`);
}

function whatIsWrong(declaration: MetricDeclaration): string | undefined {
  const { name, kind, unit } = declaration;
  if (!/^covey_[a-z0-9_]+$/.test(name)) return "the name must be covey_ and lower-case words";
  if ((kind === "counter") !== name.endsWith("_total")) {
    return "a counter, and nothing else, ends in _total";
  }
  if (/_(?:bucket|sum|count)$/.test(name)) return "the ending belongs to histograms' own series";
  const base = name.replace(/_total$/, "");
  if ((unit === "seconds" || unit === "bytes") && !base.endsWith(`_${unit}`)) {
    return `the unit ${unit} must end the name`;
  }
  if (declaration.help === "" || declaration.help.includes("\n")) return "help must be one line";
  if (declaration.buckets !== undefined) {
    if (kind !== "histogram") return "only a histogram has buckets";
    for (let at = 0; at < declaration.buckets.length; at++) {
      const bound = declaration.buckets[at];
      if (!Number.isFinite(bound)) return "bounds are finite; the infinite one is added";
      if (at > 0 && bound <= declaration.buckets[at - 1]) return "bounds must ascend";
    }
  }
  for (const label of declaration.labels ?? []) {
    if (!/^[a-z][a-z0-9_]*$/.test(label)) return `label ${label} must be lower-case words`;
    if (label === "le") return "the label le belongs to histograms";
  }
  return undefined;
}

function exposeFamily(
  lines: string[],
  family: Family<Counter | Gauge | Histogram>,
  open: boolean,
): void {
  const { name, kind, unit, help, labels = [] } = family.declaration;
  // OpenMetrics names a counter's family without the ending that its samples carry.
  const familyName = open ? name.replace(/_total$/, "") : name;
  lines.push(`# HELP ${familyName} ${escapeText(help, open)}`, `# TYPE ${familyName} ${kind}`);
  if (open && familyName.endsWith(`_${unit}`)) lines.push(`# UNIT ${familyName} ${unit}`);
  for (const { values, instrument } of family.series()) {
    const pairs = labels.map((label, at) => `${label}="${escapeText(values[at], true)}"`);
    if (instrument instanceof Histogram) exposeHistogram(lines, name, pairs, instrument);
    else {
      const value = instrument.source === undefined ? instrument.value : instrument.source();
      lines.push(`${name}${braces(pairs)} ${formatValue(value)}`);
    }
  }
}

function exposeHistogram(
  lines: string[],
  name: string,
  pairs: readonly string[],
  histogram: Histogram,
): void {
  let below = 0;
  for (let at = 0; at < histogram.counts.length; at++) {
    below += histogram.counts[at];
    const bound = at < histogram.bounds.length ? formatValue(histogram.bounds[at]) : "+Inf";
    lines.push(`${name}_bucket${braces([...pairs, `le="${bound}"`])} ${formatValue(below)}`);
  }
  lines.push(
    `${name}_sum${braces(pairs)} ${formatValue(histogram.sum)}`,
    `${name}_count${braces(pairs)} ${formatValue(histogram.count)}`,
  );
}

function braces(pairs: readonly string[]): string {
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** Help text of the older format keeps its quotes; everything else escapes them. */
function escapeText(text: string, quotes: boolean): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return quotes ? escaped.replaceAll('"', '\\"') : escaped;
}

function formatValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}
