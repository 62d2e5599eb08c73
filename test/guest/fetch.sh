#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Brings a guest kernel (and, if asked, a newer QEMU) out of Debian's packages
# into a private folder. The system's apt configuration and installed packages
# are left as they are: a private list directory is used, with the mirror that
# the system itself is configured for.
#
#   fetch.sh DEST SUITE FLAVOUR      e.g.  fetch.sh ~/.cache/guest bookworm-backports amd64
#   fetch.sh DEST SUITE qemu
#   fetch.sh DEST SUITE qemu-utils      qemu-img and qemu-storage-daemon
#
# Result: DEST/<suite>-<flavour>/{vmlinuz,config,release,lib/modules/<release>/}
#     or  DEST/<suite>-qemu/usr/bin/qemu-system-x86_64
#     or  DEST/<suite>-qemu-utils/usr/bin/qemu-storage-daemon
set -euo pipefail
dest=$1 suite=$2 what=$3
mirror=$(awk '$1=="URIs:"{print $2; exit}' /etc/apt/sources.list.d/debian.sources)
key=/usr/share/keyrings/debian-archive-keyring.gpg
out=$dest/$suite-$what
[ -e "$out/.done" ] && { echo "$out"; exit 0; }
apt=$dest/apt/$suite
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
echo "deb [signed-by=$key] $mirror $suite main" >"$apt/sources.list"
o=(-oDir::Etc::sourcelist="$apt/sources.list" -oDir::Etc::sourceparts=/dev/null
   -oDir::State::lists="$apt/lists" -oDir::Cache="$apt/cache"
   -oAPT::Sandbox::User=root -oAcquire::Retries=3 -qq)
apt-get "${o[@]}" update
rm -rf "$out" && mkdir -p "$out"
if [ "$what" = qemu ]; then
  pkgs=(qemu-system-x86 qemu-system-common qemu-system-data seabios)
elif [ "$what" = qemu-utils ]; then
  pkgs=(qemu-utils)
else
  # The metapackage names the image; since 7.x the files lie in three packages.
  img=$(apt-cache "${o[@]}" depends "linux-image-$what" | awk '/Depends: linux-image-/{print $2; exit}')
  rel=${img#linux-image-}
  if apt-cache "${o[@]}" show "linux-modules-$rel" >/dev/null 2>&1; then
    pkgs=("linux-base-$rel" "linux-binary-$rel" "linux-modules-$rel")
  else
    pkgs=("$img")
  fi
fi
( cd "$apt/debs" && apt-get "${o[@]}" download "${pkgs[@]}" )
mkdir -p "$out/tree"
for p in "${pkgs[@]}"; do dpkg-deb -x "$apt/debs/$p"_*.deb "$out/tree"; done
if [ "$what" = qemu ] || [ "$what" = qemu-utils ]; then
  mv "$out/tree/usr" "$out/usr"
else
  mods=$(find "$out/tree" -type d -path '*lib/modules/*' -prune -print | head -1)
  rel=${mods##*/}
  mkdir -p "$out/lib/modules"
  mv "$mods" "$out/lib/modules/$rel"
  cp "$(find "$out" -name "vmlinuz*" -type f | head -1)" "$out/vmlinuz"
  cp "$(find "$out" -name "config*" -type f -not -path '*/kernel/*' | head -1)" "$out/config"
  depmod -b "$out" "$rel"
  echo "$rel" >"$out/release"
fi
rm -rf "$out/tree" "$apt/debs"
touch "$out/.done"
echo "$out"
