/** The annotated file that `covey config init` writes: every key, commented out, at its default. */
import { sections, type Setting, tomlValue } from "./settings.ts";

/** Breaks text into lines of at most `width` characters with `prefix` in front of each. */
function wrap(text: string, prefix: string, width = 98): string[] {
  const lines: string[] = [];
  let line = prefix;
  for (const word of text.split(" ")) {
    if (line.length > prefix.length && line.length + 1 + word.length > width) {
      lines.push(line);
      line = prefix;
    }
    line += line.length === prefix.length ? word : ` ${word}`;
  }
  lines.push(line);
  return lines;
}

function settingLines(setting: Setting): string[] {
  const allowed = `Allowed: ${setting.itemAllowed ?? setting.allowed}.`;
  const value = setting.default === undefined ? `""` : tomlValue(setting.default);
  const unset = setting.default === undefined ? "  # not set" : "";
  return [
    ...wrap(setting.doc.replaceAll("`", ""), "# "),
    ...wrap(allowed, "# "),
    `#${setting.key} = ${value}${unset}`,
  ];
}

/** TOML text. `schema` is what editors with Taplo read: an address or a path from the file. */
export function sampleFile(schema: string): string {
  const lines = [
    `#:schema ${schema}`,
    "#",
    "# The configuration of a covey node. Every key is optional and shown at its default; remove the",
    '# "#" in front of a key to change it. A key or value that covey does not know stops the start.',
    "# Stronger than this file: COVEY_SECTION__KEY variables, and stronger still the flags.",
    '# "covey config check" judges the file, "covey config show --origin" tells what is in force.',
  ];
  for (const section of sections) {
    lines.push("", ...wrap(section.doc, "# "), `[${section.name}]`);
    for (const setting of section.settings) lines.push("", ...settingLines(setting));
  }
  return lines.join("\n") + "\n";
}

/** The same as a JSON configuration: every key that has a default, at its default. */
export function sampleObject(schema: string): Record<string, unknown> {
  const out: Record<string, unknown> = { $schema: schema };
  for (const section of sections) {
    out[section.name] = Object.fromEntries(
      section.settings.filter((setting) => setting.default !== undefined)
        .map((setting) => [setting.key, setting.default]),
    );
  }
  return out;
}
