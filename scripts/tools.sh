# Sourced by test.sh, compile.sh and smoke.sh, with the checkout as working directory: are the
# pinned tools here, and do they run? A machine has Node's npm and nothing else beforehand.

# Prints the first dependency of package.json that is not installed at its exact version.
missing_package() {
  node -e '
    const { readFileSync } = require("node:fs");
    const read = (path) => JSON.parse(readFileSync(path, "utf8"));
    const own = read("package.json");
    for (const [name, version] of Object.entries({ ...own.dependencies, ...own.devDependencies })) {
      let found = "missing";
      try { found = read(`node_modules/${name}/package.json`).version; } catch { /* not there */ }
      if (found !== version) { console.log(`${name} ${version} (found: ${found})`); break; }
    }'
}

# bun and deno put their programs in place in a post-install script, which npm leaves out under
# `ignore-scripts` or when package.json's `allowScripts` is not honoured. buf needs none: it finds
# its program at each start. This does what the scripts would have done; where they ran, nothing.
ready_tools() {
  if ! node_modules/.bin/bun --version >/dev/null 2>&1; then
    node node_modules/bun/install.js
    node_modules/.bin/bun --version >/dev/null || {
      echo "covey: node_modules/bun has no program for this machine: run npm ci (without --omit=optional)" >&2
      return 1
    }
  fi
  if [ ! -x node_modules/deno/deno ]; then
    node node_modules/deno/install.cjs
    node_modules/.bin/deno --version >/dev/null || {
      echo "covey: node_modules/deno has no program for this machine: run npm ci (without --omit=optional)" >&2
      return 1
    }
  fi
}
