/** The configuration in force, as people and `/v1/config` see it. */
import type { FieldDefault } from "./fields.ts";
import type { Origin } from "./problem.ts";
import { formatOrigin } from "./problem.ts";
import type { Resolved } from "./resolve.ts";
import { sections, settings, tomlValue, writtenValue } from "./settings.ts";
import type { Config } from "./types.ts";

/** One key that has a value. */
export interface ShownSetting {
  /** `rpc.message_bytes_max` */
  readonly key: string;
  /** As a file would write it, with its unit. */
  readonly value: FieldDefault;
  readonly origin: Origin;
}

function valueAt(config: Config, section: string, key: string): unknown {
  return (config as unknown as Record<string, Record<string, unknown>>)[section][key];
}

/** Every key that has a value, in the order of the reference. */
export function showSettings(resolved: Pick<Resolved, "config" | "origins">): ShownSetting[] {
  const shown: ShownSetting[] = [];
  for (const setting of settings) {
    const value = writtenValue(setting, valueAt(resolved.config, setting.section, setting.key));
    if (value === undefined) continue;
    const origin = resolved.origins.get(setting.path) ?? { layer: "default" };
    shown.push({ key: setting.path, value, origin });
  }
  return shown;
}

/** The same with origins as text, as the admin endpoint shows them. */
export function listSettings(
  resolved: Pick<Resolved, "config" | "origins">,
): { key: string; value: string | number | boolean | string[]; origin: string }[] {
  return showSettings(resolved).map(({ key, value, origin }) => ({
    key,
    value: typeof value === "object" ? [...value] : value,
    origin: formatOrigin(origin),
  }));
}

/** The same as nested data, which is itself a JSON configuration. */
export function showObject(
  resolved: Pick<Resolved, "config" | "origins">,
): Record<string, Record<string, FieldDefault>> {
  const out: Record<string, Record<string, FieldDefault>> = {};
  for (const section of sections) out[section.name] = {};
  for (const { key, value } of showSettings(resolved)) {
    const [section, name] = key.split(".");
    out[section][name] = value;
  }
  return out;
}

/** The same as a TOML file, with each value's origin behind it when asked. */
export function showToml(
  resolved: Pick<Resolved, "config" | "origins">,
  withOrigins: boolean,
): string {
  const shown = showSettings(resolved);
  const lines: string[] = [];
  for (const section of sections) {
    const rows = shown.filter(({ key }) => key.startsWith(`${section.name}.`)).map((row) => ({
      assignment: `${row.key.slice(section.name.length + 1)} = ${tomlValue(row.value)}`,
      origin: formatOrigin(row.origin),
    }));
    if (rows.length === 0) continue;
    const width = Math.max(...rows.map(({ assignment }) => assignment.length));
    if (lines.length > 0) lines.push("");
    lines.push(`[${section.name}]`);
    for (const { assignment, origin } of rows) {
      lines.push(withOrigins ? `${assignment.padEnd(width)}  # ${origin}` : assignment);
    }
  }
  return lines.join("\n") + "\n";
}
