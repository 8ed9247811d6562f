#!/usr/bin/env bash
# tidy.sh [--full] [FILE...]: clang-tidy over these sources, or over all of src/ that is no test.
# The checks are those of .clang-tidy; the static analyzer (clang-analyzer-*), which takes as long as all others
# together, only runs with --full. Configures build/tidy: clang's own flags, so that it understands them, and every source by itself.
source "$(dirname "$0")/common.sh"
install_missing "${TIDY_PACKAGES[@]}"
checks=--checks=-clang-analyzer-*
if [ "${1:-}" = --full ]; then
  checks=
  shift
fi
if [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(find src -name '*.cc' ! -name '*_test.cc' ! -name '*_fuzz.cc' | sort)
fi
[ -f build/tidy/compile_commands.json ] || cmake --preset dev -B build/tidy >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The count of warnings in system headers goes to standard error; what is left there of use is printed on failure.
if ! printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy -p build/tidy --quiet --warnings-as-errors='*' $checks >"$log" 2>"$log.err"; then
  cat "$log"
  grep -v 'warnings generated\|^Suppressed\|^Use -header-filter' "$log.err" | head -20 || true
  rm -f "$log.err"
  echo "clang-tidy has findings"
  exit 1
fi
rm -f "$log.err"
echo "${#files[@]} files without a finding"
