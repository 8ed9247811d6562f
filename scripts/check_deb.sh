#!/usr/bin/env bash
# check_deb.sh                    packs the release build as .deb, looks at what is inside, and runs the program from the
#                                 unpacked package, with this machine's libraries.
# check_deb.sh --chroot [FOLDER]  also installs it into a clean Debian with apt-get, and runs the demo there. The clean
#                                 Debian is made by debootstrap (a minute, 200 MB); with FOLDER it stays there for the
#                                 next time, and a copy of it is used. Needs root.
# check_deb.sh --try-chroot [FOLDER]  the same where there is root, a mirror and a system that lets debootstrap work, and
#                                 says so where not.
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
rm -rf build/release/_CPack_Packages
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

# No clean Debian: an error where it was asked for.
no_chroot() {
  if [ "$how" = --chroot ]; then complain "$*"; fi
  echo "skipped: the package was not installed into a clean Debian: $*"
  exit 0
}
how=${1:-}
case "$how" in
  --chroot | --try-chroot) ;;
  *) echo "(not installed into a clean Debian: check_deb.sh --chroot does that)"; exit 0 ;;
esac

say "In a clean Debian"
[ "$(id -u)" -eq 0 ] || no_chroot "that needs root"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
pristine=${2:-$work/pristine}
if [ ! -x "$pristine/usr/bin/apt-get" ]; then
  [ "$(. /etc/os-release && echo "$ID")" = debian ] || no_chroot "this system is no Debian, whose libraries the package needs"
  install_missing debootstrap
  rm -rf "$pristine.part"
  if ! debootstrap --variant=minbase "$release" "$pristine.part" >"$work/log" 2>&1; then
    tail -5 "$work/log"
    rm -rf "$pristine.part"
    no_chroot "debootstrap failed"
  fi
  mv "$pristine.part" "$pristine"
fi
debian=$work/debian
cp -a "$pristine" "$debian"
inside() { chroot "$debian" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
if mount --bind /proc "$debian/proc" 2>/dev/null; then proc=$debian/proc; fi
cp /etc/resolv.conf "$debian/etc/"
cp "$packages"/*.deb "$model" "$model.hunch" models/demo/eval.txt "$debian/tmp/"
if inside hunch --version 2>/dev/null; then complain "this Debian is not clean: it has hunch"; fi
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends "/tmp/$(basename "$program")" >"$work/log" 2>&1 || { cat "$work/log"; complain "apt-get failed"; }
inside hunch --version
# What ./demo does with its model.
inside hunch run /tmp/hunch-demo.gguf -p "Once upon a time there was a little" -n 120 --temperature 0.7 --top-p 0.9 --seed 7 >"$work/text"
cat "$work/text"
[ "$(wc -w <"$work/text")" -ge 40 ] || complain "the demo wrote no text"
inside hunch eval /tmp/hunch-demo.gguf --text /tmp/eval.txt --compare dense,exact,sparse,lossless,oracle:0.2:1 --max-tokens 500
inside hunch inspect /tmp/hunch-demo.gguf --text /tmp/eval.txt --html /tmp/report.html --quiet >/dev/null
[ -s "$debian/tmp/report.html" ] || complain "the demo drew no report"
inside hunch list
# The library and its headers, with what they depend on alone.
inside apt-get install -y -qq --no-install-recommends "/tmp/$(basename "$packages"/libhunch0*.deb)" "/tmp/$(basename "$packages"/libhunch-dev*.deb)" >"$work/log" 2>&1 ||
  { cat "$work/log"; complain "apt-get failed for the library"; }
[[ $(inside ldconfig -p) == *libhunch.so* ]] || complain "ldconfig does not know libhunch.so"
inside apt-get purge -y -qq hunch libhunch-dev 'libhunch0*' >"$work/log" 2>&1 || { cat "$work/log"; complain "apt-get purge failed"; }
left=$(find "$debian/usr" -iname '*hunch*')
[ -z "$left" ] || complain "purging left $left"
say "the package installs, runs and leaves nothing behind"
