#!/usr/bin/env bash
# Installs the release build into a temporary folder and builds and runs a small program against the package.
source "$(dirname "$0")/common.sh"
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install build/release --prefix "$prefix/usr" >/dev/null
"$prefix/usr/bin/hunch" --version
cmake -S tests/install -B "$prefix/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix/usr" >/dev/null
cmake --build "$prefix/build" >/dev/null
"$prefix/build/consumer" models/demo/hunch-demo.gguf
