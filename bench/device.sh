#!/usr/bin/env bash
# bench/device.sh [DEVICE] [RESULTS]: how fast a card is, in less than ten minutes: decoding dense, exact and sparse, and
# prompts, of models of real sizes that it makes first (random weights with planted sparsity: docs/synth.md).
#
#   DEVICE    vulkan:0 by default; what `hunch devices` lists
#   RESULTS   a file that gets one JSON object a line, as `hunch bench --json` prints them; build/device/results.json by default
#   HUNCH     the program; build/release/hunch by default
#   SHAPES    what is measured; "llama-1.1b reglu-3b opt-6.7b" by default
#   TYPES     "f16 q4_0" by default
#   FOLDER    of the models and results; build/device by default
#   SMALLER   options of `hunch synth` that make the shapes smaller, to try the script where there is no card:
#             "--n-layer 2 --n-embd 512 --n-ff 1024 --n-head 8 --n-kv-head 8 --n-vocab 1024"
#   PROMPT, GENERATE, REPEATS   tokens and repeats of each measurement; 512, 64 and 3 by default
#   RIVAL     llama-bench of llama.cpp, of a Vulkan or CUDA build: measures the same files of its own formats after them
#
# Models stay in build/device/ (30 GB at most), so that a second run begins with measuring. Each is checked before it is
# measured: its greedy text on the device is the processor's, or the difference is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
device=${1:-vulkan:0}
hunch=${HUNCH:-build/release/hunch}
folder=${FOLDER:-build/device}
results=${2:-$folder/results.json}
mkdir -p "$folder"
: >"$results"
started=$SECONDS
say() { printf '\n== %4d s  %s\n' $((SECONDS - started)) "$*"; }

say "devices"
"$hunch" devices --measure
"$hunch" devices --measure --json >>"$results"

for shape in ${SHAPES:-llama-1.1b reglu-3b opt-6.7b}; do
  for type in ${TYPES:-f16 q4_0}; do
    model=$folder/$shape-$type.gguf
    if [ ! -e "$model" ]; then
      say "making $model"
      sparse=()
      case $shape in *reglu* | *opt*) sparse=(--density 0.1 --sidecar) ;; esac
      # shellcheck disable=SC2086  # several words
      "$hunch" synth --shape "$shape" --type "$type" "${sparse[@]}" ${SMALLER:-} -o "$model" --quiet || { echo "left out: $shape in $type"; continue; }
    fi
    modes="dense"
    case $shape in *reglu* | *opt*) modes="dense exact" ;; esac  # those that have zeros
    [ -e "$model.hunch" ] && modes="$modes sparse"
    say "$shape, $type: the same text?"
    ids=(--ids "5,17,300,4,99" -n 16 --temperature 0 --ignore-end --quiet --json)
    here=$("$hunch" run "$model" "${ids[@]}" --mode dense --device cpu | grep -o '"ids": *\[[^]]*\]' | head -1 || true)
    there=$("$hunch" run "$model" "${ids[@]}" --mode dense --device "$device" | grep -o '"ids": *\[[^]]*\]' | head -1 || true)
    if [ "$here" = "$there" ]; then echo "yes"; else printf 'no (blocks: the processor rounds inputs to int8)\n  cpu    %s\n  device %s\n' "$here" "$there"; fi
    for mode in $modes; do
      say "$shape, $type, $mode"
      "$hunch" bench "$model" --mode "$mode" --device "$device" --prompt "${PROMPT:-512}" --generate "${GENERATE:-64}" \
        --repeats "${REPEATS:-3}" --quiet --json |
        tee -a "$results" | python3 -c '
import json, sys
bench = json.load(sys.stdin)
for row in bench["rows"]:
    print(f"  {row['"'name'"']:8} {row['"'tokens_per_s'"']:9.1f} tokens/s {row['"'gb_per_s'"']:8.1f} GB/s, {100 * row['"'bandwidth_share'"']:5.1f} % of what reading gives")'
    done
    if [ -n "${RIVAL:-}" ]; then
      say "$shape, $type: $RIVAL"
      "$RIVAL" -m "$model" -p "${PROMPT:-512}" -n "${GENERATE:-64}" -r "${REPEATS:-3}" -ngl 99 || echo "it does not read this file"
    fi
  done
done
say "done; $results has everything"
