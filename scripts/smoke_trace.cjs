// Reads what `strace -f -y -e trace=%file -o TRACE` wrote about one program, prints the folders
// from which it opened files, and fails on each path outside its own and the system's.
//
//   node smoke_trace.cjs TRACE BINARY DATA CONFIG
//
// CommonJS, because it runs on the Node that the machine has, where the checkout is hidden.
"use strict";
const { readFileSync } = require("node:fs");
const { dirname } = require("node:path");

const [trace, binary, data, config] = process.argv.slice(2);

const system = [
  /^\/(usr\/)?lib(32|64)?\//, // the C library and its locale data
  /^\/etc\/ld\.so\.(cache|preload)$/,
  /^\/etc\/(localtime|timezone)$/,
  /^\/usr\/share\/zoneinfo\//,
  /^\/etc\/(hosts|host\.conf|resolv\.conf|nsswitch\.conf|gai\.conf|services|protocols)$/,
  /^\/etc\/(passwd|group)$/,
  /^\/(etc\/ssl|etc\/pki|usr\/share\/ca-certificates|usr\/local\/share\/ca-certificates)(\/|$)/,
  /^\/(proc|sys)\//,
  /^\/dev\/(null|zero|urandom|random|tty|pts\/\d+)$/,
];
const below = (path, folder) => path === folder || path.startsWith(`${folder}/`);
/** The first start makes the names of the data folder, and of those above it, durable. */
const above = new Set();
for (let folder = dirname(data); !above.has(folder); folder = dirname(folder)) above.add(folder);
const mayRead = (path) =>
  path === binary || path === config || below(path, data) || system.some((one) => one.test(path)) ||
  above.has(path);
const mayWrite = (path) => below(path, data) || /^\/dev\/(null|tty|pts\/\d+)$/.test(path);

const opened = new Map();
const offences = new Set();

/** The path of a call's first path argument, made absolute by what -y says about its directory. */
function pathOf(line) {
  const match = /\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"/.exec(line);
  if (match === null) return undefined;
  const [, folder, path] = match;
  return path.startsWith("/") || folder === undefined ? path : `${folder}/${path}`;
}

for (const line of readFileSync(trace, "utf8").split("\n")) {
  const call = /^\d+\s+(?:<\.\.\. )?(\w+)/.exec(line)?.[1];
  if (call === undefined) continue;
  const failed = /= -1 E[A-Z]+/.test(line);
  if (/^(open|openat|openat2|creat)$/.test(call)) {
    const result = /= \d+<([^>]*)>$/.exec(line)?.[1];
    if (result !== undefined) {
      const path = result.replace(/ \(deleted\)$/, "");
      opened.set(path, (opened.get(path) ?? 0) + 1);
      if (!mayRead(path)) offences.add(`opened ${path}`);
    }
    const path = pathOf(line);
    if (path !== undefined && !failed && /O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE/.test(line)) {
      if (!mayWrite(path)) offences.add(`opened for writing ${path}`);
    }
  } else if (
    /^(mkdir|mkdirat|rmdir|unlink|unlinkat|rename|renameat2?|link|linkat|symlink|symlinkat|mknod|mknodat|truncate|chmod|fchmodat2?|chown|fchownat)$/
      .test(call)
  ) {
    const path = pathOf(line);
    if (path !== undefined && !failed && !mayWrite(path)) offences.add(`${call} ${path}`);
  } else if (/^execve(at)?$/.test(call) && !failed) {
    const path = pathOf(line);
    if (path !== undefined && !path.endsWith("bin/covey")) offences.add(`started ${path}`);
  }
}

const folders = new Map();
for (const [path, times] of opened) {
  const own = path === binary || path === config || below(path, data);
  const folder = own
    ? (below(path, data) ? "its data" : path === config ? "its config" : "itself")
    : /^\/(etc|dev|proc)\//.test(path)
    ? path.replace(/\/\d+(?=\/|$)/g, "/N")
    : dirname(path);
  const entry = folders.get(folder) ?? { files: 0, times: 0 };
  entry.files++;
  entry.times += times;
  folders.set(folder, entry);
}
for (const [folder, { files, times }] of [...folders].sort()) {
  console.log(
    `opened ${folder} (${files} ${files === 1 ? "file" : "files"}, ${times} ${
      times === 1 ? "time" : "times"
    })`,
  );
}
if (opened.size === 0) offences.add("nothing at all: the trace is empty");
for (const offence of offences) console.log(`BAD ${offence}`);
process.exit(offences.size === 0 ? 0 : 1);
