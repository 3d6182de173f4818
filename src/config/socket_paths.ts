/** The unix sockets that a configuration asks for: the kernel allows only short paths. */
import { parseAddress, plainPath, socketBytesMax } from "../base/address.ts";
import { encodeText } from "../base/bytes.ts";
import { type Host, NetError } from "../runtime/port.ts";
import { ConfigError, type Problem, quote } from "./problem.ts";
import type { Resolved } from "./resolve.ts";

/** Beside the data, for the commands of the same machine. */
const localSocket = "covey.sock";

/** Throws a {@link ConfigError} for every path that is too long once it is absolute. */
export function checkSocketPaths(
  host: Pick<Host, "directory">,
  { config, origins }: Pick<Resolved, "config" | "origins">,
): void {
  const { node } = config;
  const problems: Problem[] = [];
  const judge = (setting: string, key: string, found: string, path: string): void => {
    const whole = wholePath(host, path);
    const bytes = whole === undefined ? 0 : encodeText(whole).length;
    if (bytes <= socketBytesMax) return;
    problems.push({
      origin: origins.get(setting) ?? { layer: "default" },
      key,
      message:
        `found ${quote(found)}, which makes the path of a unix socket ${bytes} bytes long; ` +
        `allowed: up to ${socketBytesMax}, counted from / on`,
    });
  };
  for (const [index, listen] of node.listen.entries()) {
    const address = parseAddress(listen);
    if (address.kind === "unix") {
      judge("node.listen", `node.listen[${index}]`, listen, address.path);
    }
  }
  if (!node.memory_only) judge("node.data", "node.data", node.data, `${node.data}/${localSocket}`);
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Undefined where the working directory cannot be read, which the start says better. */
function wholePath(host: Pick<Host, "directory">, path: string): string | undefined {
  try {
    return plainPath(path.startsWith("/") ? path : `${host.directory}/${path}`);
  } catch (error) {
    if (error instanceof NetError) return undefined;
    throw error;
  }
}
