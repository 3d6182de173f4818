#!/bin/sh
# npm test: see scripts/test.ts for what it does and which arguments it takes.
set -eu
cd "$(dirname "$0")/.."
. scripts/tools.sh
command -v node >/dev/null || { echo "covey: node is not on the PATH: install Node 20 or newer" >&2; exit 1; }
missing=$(missing_package)
[ -z "$missing" ] || { echo "covey: $missing is not in node_modules: run npm ci" >&2; exit 1; }
ready_tools
exec node_modules/.bin/bun --no-install scripts/test.ts "$@"
