#!/usr/bin/env bash
# serve_soak.sh [SECONDS] [HUNCH] [MODEL]: 32 clients at once against hunch serve for so long (60), and 1,000 idle connections:
# streams of several modes, clients that vanish, slow readers, bodies that are no JSON. Every greedy answer has to be the one
# that `hunch run` gives alone; afterwards descriptors, memory and the cache have to be as they were.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 -B tests/serve_soak.py --seconds "${1:-60}" --hunch "${2:-build/release/hunch}" --model "${3:-models/demo/hunch-demo.gguf}"
