#!/usr/bin/env bash
# run_fuzzers.sh SECONDS: every fuzzer for that long, from its committed seeds. Stops at the first crash.
source "$(dirname "$0")/common.sh"
seconds=$1
n=0
for program in build/dev/fuzz/fuzz_*; do
  name=${program##*/fuzz_}
  folder=${name%%_*}
  stem=${name#*_}
  seeds=$(find src -type d -path "src/$folder*/fuzz_corpus/$stem" | head -1)
  work=$(mktemp -d)
  log=$work/log
  if ! "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="$work/" "$work" ${seeds:+"$seeds"} >"$log" 2>&1; then
    tail -40 "$log"
    echo "fuzz_$name failed; the input lies in $work"
    exit 1
  fi
  printf '  fuzz_%-32s %s\n' "$name" "$(grep -c . "$log" >/dev/null && sed -n 's/^Done \([0-9]* runs\).*/\1/p' "$log")"
  rm -rf "$work"
  n=$((n + 1))
done
echo "$n fuzzers ran without a finding"
