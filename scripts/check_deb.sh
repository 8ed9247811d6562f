#!/usr/bin/env bash
# check_deb.sh                    packs the release build as .deb, looks at what is inside, and runs the program from the
#                                 unpacked package, with this machine's libraries.
# check_deb.sh --chroot [FOLDER]  also installs it into a clean Debian of its own with apt-get, and runs it there. The
#                                 clean Debian is made by debootstrap (minutes, 300 MB from the mirror), or is a copy of
#                                 FOLDER, where debootstrap has made one before. Needs root.
source "$(dirname "$0")/common.sh"
install_missing dpkg-dev file  # what CPack finds the dependencies with
model=models/demo/hunch-demo.gguf
packages=build/release/packages
work=$(mktemp -d)
proc=
cleanup() {
  if [ -n "$proc" ]; then umount "$proc"; fi
  rm -rf "$work"
}
trap cleanup EXIT
complain() { echo "check_deb.sh: $*"; exit 1; }

rm -rf "$packages"
(cd build/release && cpack -G DEB) >"$work/log" 2>&1 || { cat "$work/log"; complain "cpack failed"; }
rm -rf "$packages/_CPack_Packages"
ls -l "$packages" | awk 'NR > 1 {printf "  %-34s %8.2f MB\n", $9, $5 / 1e6}'
program=$(echo "$packages"/hunch_*.deb)

for deb in "$packages"/*.deb; do
  name=$(dpkg-deb -f "$deb" Package)
  for field in Package Version Architecture Maintainer Section Priority Description Installed-Size; do
    [ -n "$(dpkg-deb -f "$deb" $field)" ] || complain "$name has no field $field"
  done
  dpkg-deb -x "$deb" "$work/root"
  for file in copyright changelog.gz; do
    [ -s "$work/root/usr/share/doc/$name/$file" ] || complain "$name has no usr/share/doc/$name/$file"
  done
done
depends=$(dpkg-deb -f "$program" Depends)
for library in libc6 libstdc++6 libfmt; do
  [[ $depends == *$library* ]] || complain "hunch depends on '$depends', expected $library among it"
done
dpkg-deb -c "$program" >"$work/files"
for file in bin/hunch share/man/man1/hunch.1.gz share/bash-completion/completions/hunch share/zsh/vendor-completions/_hunch \
  share/fish/vendor_completions.d/hunch.fish share/doc/hunch/docs/README.md; do
  grep -q " ./usr/$file$" "$work/files" || complain "hunch has no /usr/$file"
done
if grep -E '\.(h|a|cmake)$|/lib/' "$work/files"; then complain "hunch has files of development"; fi
has_debug() { [[ $(readelf -SW "$1" 2>/dev/null) == *.debug_info* ]]; }
for binary in "$work/root/usr/bin/hunch" "$work"/root/usr/lib/libhunch.so.*.*.*; do
  if has_debug "$binary"; then complain "$binary is not stripped"; fi
done
if has_debug "$work/root/usr/lib/hunch/libhunch_api.a"; then complain "the archives are not stripped"; fi

if command -v lintian >/dev/null; then
  say "lintian"
  lintian --fail-on error --allow-root "$packages"/*.deb || complain "lintian has errors"
else
  echo "skipped: no lintian here"
fi

say "Unpacked, with this machine's libraries"
if ldd "$work/root/usr/bin/hunch" | grep 'not found'; then complain "libraries are missing"; fi
"$work/root/usr/bin/hunch" --version
"$work/root/usr/bin/hunch" run "$model" -p "The old king" -n 8 --temperature 0 --quiet
apt-get install --simulate -o Debug::NoLocking=1 "./$program" >"$work/log" 2>&1 ||
  { cat "$work/log"; complain "apt-get could not install it here"; }

[ "${1:-}" = --chroot ] || { echo "(not installed into a clean Debian: check_deb.sh --chroot does that)"; exit 0; }

say "In a clean Debian"
[ "$(id -u)" -eq 0 ] || complain "--chroot needs root"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
if [ -n "${2:-}" ]; then
  cp -a "$2" "$work/debian"
else
  install_missing debootstrap
  debootstrap --variant=minbase "$release" "$work/debian" >"$work/log" 2>&1 || { tail -5 "$work/log"; complain "debootstrap failed"; }
fi
debian=$work/debian
inside() { chroot "$debian" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
if mount --bind /proc "$debian/proc" 2>/dev/null; then proc=$debian/proc; fi
cp /etc/resolv.conf "$debian/etc/"
cp "$packages"/*.deb "$model" "$debian/tmp/"
if inside hunch --version 2>/dev/null; then complain "this Debian is not clean: it has hunch"; fi
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends "/tmp/$(basename "$program")" >"$work/log" 2>&1 || { cat "$work/log"; complain "apt-get failed"; }
inside hunch --version
inside hunch run /tmp/hunch-demo.gguf -p "The old king" -n 8 --temperature 0
inside hunch list
# The library and its headers, with what they depend on alone.
inside apt-get install -y -qq --no-install-recommends "/tmp/$(basename "$packages"/libhunch0*.deb)" "/tmp/$(basename "$packages"/libhunch-dev*.deb)" >"$work/log" 2>&1 ||
  { cat "$work/log"; complain "apt-get failed for the library"; }
[[ $(inside ldconfig -p) == *libhunch.so* ]] || complain "ldconfig does not know libhunch.so"
inside apt-get purge -y -qq hunch libhunch-dev 'libhunch0*' >"$work/log" 2>&1 || { cat "$work/log"; complain "apt-get purge failed"; }
left=$(find "$debian/usr" -iname '*hunch*')
[ -z "$left" ] || complain "purging left $left"
say "the package installs, runs and leaves nothing behind"
