#!/bin/sh
# Deno for the tasks of deno.json: `deno task` takes the npm package's program for a script and
# tries to read it as JavaScript, unless somebody else starts it.
set -eu
cd "$(dirname "$0")/.."
if [ -x node_modules/.bin/deno ]; then exec node_modules/.bin/deno "$@"; fi
exec deno "$@"
