#!/usr/bin/env bash
# write_tables.sh [BUILD]: writes the tables of README.md and docs/models.md that are made from the code
# (src/model/tables_test.cc) anew. BUILD is a build folder with tests, build/release by default.
source "$(dirname "$0")/common.sh"
build=${1:-build/release}
ninja -C "$build" test_model >/dev/null
HUNCH_WRITE_TABLES=1 "$build/tests/test_model" --file=tables
git diff --stat -- README.md docs/models.md
