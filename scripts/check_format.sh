#!/usr/bin/env bash
# Every C++ and C source is as clang-format 14 leaves it (other versions differ: where there is none of 14, it says so).
source "$(dirname "$0")/common.sh"
for clang_format in clang-format-14 clang-format; do
  if command -v "$clang_format" >/dev/null && "$clang_format" --version | grep -q 'version 14\.'; then
    git ls-files '*.cc' '*.h' '*.c' | xargs "$clang_format" --dry-run --Werror
    exit 0
  fi
done
echo "skipped: no clang-format 14 here"
