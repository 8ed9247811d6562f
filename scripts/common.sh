# Shared by ./demo and ./check: what is installed, how it is built. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }

# install_missing PACKAGE...: installs the Debian packages that are not there yet, and says which.
install_missing() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "These packages are missing: ${missing[*]}"
    echo "This system has no apt-get; please install what corresponds to them and run the script again."
    exit 1
  fi
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  say "Installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

BUILD_PACKAGES=(g++ cmake ninja-build pkg-config libhwy-dev nlohmann-json3-dev libcli11-dev libfmt-dev libpcre2-dev
  libutf8proc-dev libcurl4-openssl-dev libssl-dev zlib1g-dev libedit-dev)
TEST_PACKAGES=(libgtest-dev libbenchmark-dev ccache lld python3 python3-jinja2)
FUZZ_PACKAGES=(clang)

# The fuzz preset needs clang's runtime of the same version, whose package has another name on each release.
install_clang_runtime() {
  local version
  version=$(clang --version | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
  install_missing "libclang-rt-${version}-dev"
}

# build PRESET [TARGET...]: configures once, then builds what changed.
build() {
  local preset=$1
  shift
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >"build-$preset.log" 2>&1 || {
    cat "build-$preset.log"
    exit 1
  }
  rm -f "build-$preset.log"
  ninja -C "build/$preset" "$@" | { if [ -t 1 ]; then cat; else grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\)' || true; fi; }
}
