#!/usr/bin/env bash
# build_tests.sh PRESET FOLDER...: builds the test programs of these folders of src/ only.
source "$(dirname "$0")/common.sh"
preset=$1
shift
configure "$preset"
targets=()
for folder in "$@"; do
  while read -r target; do targets+=("$target"); done < <(ninja -C "build/$preset" -t targets all | sed -n "s/^\(test_${folder}_[a-z0-9_]*\): phony$/\1/p")
done
[ ${#targets[@]} -gt 0 ] || { echo "build_tests.sh: no test programs in $*"; exit 1; }
build "$preset" "${targets[@]}"
