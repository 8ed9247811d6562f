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
  say "Installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

as_root() {
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" "$@"
}

BUILD_PACKAGES=(g++ cmake ninja-build pkg-config libhwy-dev nlohmann-json3-dev libcli11-dev libfmt-dev libpcre2-dev
  libutf8proc-dev liburing-dev libcurl4-openssl-dev libssl-dev zlib1g-dev libedit-dev libeigen3-dev libboost-dev libvulkan-dev
  glslang-tools)
TEST_PACKAGES=(clang libgtest-dev libbenchmark-dev ccache lld python3 python3-jinja2 python3-dev python3-numpy python3-pip pybind11-dev
  mesa-vulkan-drivers vulkan-validationlayers libopenmpi-dev openmpi-bin iproute2 nginx-light haproxy)
TIDY_PACKAGES=(clang-tidy)

# The ctest names of the tests whose sources look for shared data, as alternatives of a regular expression.
tests_with_shared_data() {
  grep -rl 'shared_path(' src --include='*_test.cc' | sed -E 's|^src/([^/]*)/(.*/)?([^/]*)_test\.cc$|\1.\3|' | tr '\n' '|'
  echo cli.verbs
}

# clang-format 14, which Debian 12 and Ubuntu 22.04 have under this name. False where the system's packages have none;
# where they do, there is one afterwards, or the script ends.
install_format() {
  command -v clang-format-14 >/dev/null && return 0
  command -v apt-get >/dev/null || return 1
  has_package clang-format-14 || as_root apt-get update -qq || return 1  # a fresh machine has no lists yet
  has_package clang-format-14 || return 1
  install_missing clang-format-14 || exit 1
  command -v clang-format-14 >/dev/null || { echo "clang-format-14 was installed and is not there"; exit 1; }
}
# What the tests of the web page need: they say so themselves where one of these is not to be had. Systems whose node came
# from elsewhere keep it.
install_browser() {
  command -v apt-get >/dev/null || return 0
  local missing=() package
  command -v npm >/dev/null || missing+=(nodejs npm)
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
  [ ${#missing[@]} -gt 0 ] || return 0
  has_package chromium || as_root apt-get update -qq || return 0
  for package in "${missing[@]}"; do
    if has_package "$package"; then install_missing "$package"; fi
  done
}
has_package() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

# The dev preset needs clang's runtime (sanitizers, libFuzzer) of the same version, whose package has another name on each
# release.
install_clang_runtime() {
  local version
  version=$(clang --version | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
  install_missing "libclang-rt-${version}-dev"
}

# The presets need CMake 3.25: Debian 12 and Ubuntu 23.04 have it, Ubuntu 22.04 does not.
require_cmake() {
  local version
  version=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
  if [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -1)" != 3.25 ]; then
    echo "hunch needs CMake 3.25 or newer, this system's is $version."
    echo "Newer ones: https://apt.kitware.com, 'pip install cmake', or 'snap install cmake --classic'."
    exit 1
  fi
}

# configure PRESET [-DNAME=VALUE...]: where that was not done yet, or not with these options, or the presets have changed.
configure() {
  local preset=$1 log option is_done=true
  shift
  require_cmake
  [ "build/$preset/build.ninja" -nt CMakePresets.json ] || is_done=false
  for option in "$@"; do
    option=${option#-D}
    $is_done && grep -qE "^${option%%=*}:[A-Z]+=${option#*=}$" "build/$preset/CMakeCache.txt" || is_done=false
  done
  ! $is_done || return 0
  log=$(mktemp)
  cmake --preset "$preset" "$@" >"$log" 2>&1 || { cat "$log"; exit 1; }
  rm -f "$log"
}

# build PRESET [TARGET...]: configures once, then builds what changed.
build() {
  local preset=$1
  shift
  configure "$preset"
  ninja -C "build/$preset" "$@" | { if [ -t 1 ]; then cat; else grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\)' || true; fi; }
}
