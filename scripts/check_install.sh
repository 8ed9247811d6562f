#!/usr/bin/env bash
# Installs the release build into a temporary folder, and builds and runs programs in C++ and C against the package: with
# CMake, static and shared, and with pkg-config. All with -Wall -Wextra -Werror.
source "$(dirname "$0")/common.sh"
model=models/demo/hunch-demo.gguf
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install build/release --prefix "$prefix/usr" >/dev/null
"$prefix/usr/bin/hunch" --version
(cd "$prefix/usr" && du -ch --apparent-size bin share lib/libhunch.so.*.*.* lib/hunch include | sed 's/^/  /')
for file in bash-completion/completions/hunch zsh/vendor-completions/_hunch fish/vendor_completions.d/hunch.fish man/man1/hunch.1 \
  doc/hunch/LICENSE doc/hunch/docs/README.md; do
  [ -s "$prefix/usr/share/$file" ] || { echo "share/$file was not installed"; exit 1; }
done
if [[ $(readelf -SW "$prefix/usr/bin/hunch") == *.debug_info* ]]; then echo "the program is not stripped"; exit 1; fi
# The program alone: nothing for developers.
cmake --install build/release --prefix "$prefix/runtime" --component runtime >/dev/null
"$prefix/runtime/bin/hunch" --version >/dev/null
if find "$prefix/runtime" -name '*.h' -o -name '*.a' -o -name '*.so*' | grep .; then echo "the component runtime has files of development"; exit 1; fi

# run PROGRAM: with the model, and without one, which must be an error that was caught (3).
run() {
  "$1" "$model"
  local rc=0
  "$1" /nonexistent.gguf 2>/dev/null || rc=$?
  [ "$rc" -eq 3 ] || { echo "$1: exit code $rc for a model that is not there, expected 3"; exit 1; }
}

for library in hunch shared; do
  say "CMake, hunch::$library"
  cmake -S tests/install -B "$prefix/$library" -G Ninja -DCMAKE_PREFIX_PATH="$prefix/usr" -DLIBRARY=$library >/dev/null
  cmake --build "$prefix/$library" >/dev/null
  for program in consumer everything c_consumer; do run "$prefix/$library/$program"; done
done

say "pkg-config"
pc=$(dirname "$(find "$prefix/usr" -name hunch.pc)")
read -ra flags <<<"$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs hunch)"
lib=$(PKG_CONFIG_PATH=$pc pkg-config --variable=libdir hunch)
c++ -std=c++20 -Wall -Wextra -Werror tests/install/consumer.cc -o "$prefix/consumer" "${flags[@]}" -Wl,-rpath,"$lib"
cc -std=c99 -Wall -Wextra -Werror tests/install/c_consumer.c -o "$prefix/c_consumer" "${flags[@]}" -Wl,-rpath,"$lib"
run "$prefix/consumer"
run "$prefix/c_consumer"

# The library exports what include/hunch declares: no engine, and nothing of the libraries inside.
others=$(nm -D --defined-only -C "$lib/libhunch.so" | cut -d' ' -f3- |
  grep -vE '^(hunch_|(typeinfo for |typeinfo name for |vtable for )?hunch::(Error|name_of\(hunch::ErrorKind\)|Cancel::|LanguageModel::|Session::|ChatSession::|GenerationBatch::|LikelihoodScorer::|(generate|logits|perplexity|hidden_states|embed|embed_all|rerank|activations|compare|calibrate|train)\(hunch::LanguageModel&|quantize\(std::filesystem))' || true)
[ -z "$others" ] || { printf 'exported, but not public:\n%s\n' "$others"; exit 1; }
say "the installed package works"
