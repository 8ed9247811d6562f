#!/bin/sh
# Decoding speed of dense, exact and sparse on a planted model (docs/sparse-speed.md):
#   tools/sparse_speed.sh HUNCH FOLDER SHAPE TYPE...      e.g. build/release/hunch /tmp opt-1.3b q4_0 q8_0 f16
# Models are made once and stay in FOLDER; HUNCH_HEADS=1 plants no head sparsity.
set -eu
[ $# -ge 4 ] || { sed -n '2,4s/^# *//p' "$0" >&2; exit 2; }
hunch=$1 folder=$2 shape=$3
shift 3
heads=${HUNCH_HEADS:-0.42}
profile=""
case $shape in opt-*) profile="--density-profile opt" ;; esac
for type in "$@"; do
  model=$folder/$shape-$type-heads$heads.gguf
  text=$folder/$shape.txt
  # The profile is two words or none.
  # shellcheck disable=SC2086
  [ -f "$model.hunch" ] && [ -f "$text" ] || "$hunch" synth --force --shape "$shape" $profile --density 0.1 --head-density "$heads" --type "$type" \
    -o "$model" --sidecar --text "$text" --text-tokens 3000
  "$hunch" bench "$model" --compare dense,exact,sparse --text "$text" --depth 64 --prompt "" --generate 64 --repeats 5
done
