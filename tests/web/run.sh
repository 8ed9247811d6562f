#!/usr/bin/env bash
# The web page: that what is committed is what its sources make, and what it does in Chromium (tests/web/test_*.mjs); the
# report of inspect there too.
# Exit code 77, which ctest calls skipped, where Node, Chromium or npm's packages are not to be had.
set -euo pipefail
: "${HUNCH_SOURCE_DIR:?}" "${HUNCH_BINARY:?}"

skip() { echo "The tests of the web page are left out: $*"; exit 77; }

command -v node >/dev/null || skip "there is no node"
command -v npm >/dev/null || skip "there is no npm"
node_is() { node -e 'process.exit(parseInt(process.versions.node) >= Number(process.argv[1]) ? 0 : 1)' "$1"; }
node_is 18 || skip "node is $(node --version), older than 18"
HUNCH_CHROMIUM=${HUNCH_CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
[ -n "$HUNCH_CHROMIUM" ] || skip "there is no chromium"
export HUNCH_CHROMIUM

cd "$HUNCH_SOURCE_DIR/web"
# What the lockfile names, once; npm writes its own copy of it last.
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ping --fetch-retries=0 --fetch-timeout=10000 >/dev/null 2>&1 || skip "npm's registry cannot be reached"
  npm ci --no-audit --no-fund --ignore-scripts
fi

if node_is 20; then
  built=$(mktemp -d)
  trap 'rm -rf "$built"' EXIT
  npx --no-install tsc --noEmit
  HUNCH_PAGE_OUT=$built npx --no-install vite build --logLevel warn
  diff -r "$built" ../src/serve/page >/dev/null || {
    echo "src/serve/page is not what web/ makes: run 'npm ci && npm run build' there and commit the result"
    exit 1
  }
else
  echo "Not compared: what is committed with what its sources make (vite wants node 20, this is $(node --version))"
fi

cd "$HUNCH_SOURCE_DIR/tests/web"
node --test test_page.mjs test_report.mjs

