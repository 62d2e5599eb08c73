#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds a guest's initramfs.
#
#   mkinitrd.sh KERNELDIR OUT.cpio [--bin PROGRAM]... [--file PATH]... [--mod NAME]...
#
# KERNELDIR is a folder that fetch.sh made. The initramfs holds busybox, the
# guest's init, the modules named here with all that they need (unpacked, since
# xz is slow in an emulated guest), and, for guests that do not see the host's
# root, programs with their shared libraries at the same paths as on the host.
# Module names that the kernel has built in are passed over.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kdir=$(realpath "$1") out=$(realpath -m "$2")
shift 2
rel=$(cat "$kdir/release")
mods=(virtio_blk virtio_console virtio_pci 9p 9pnet_virtio virtiofs overlay
  ext4 xfs btrfs erofs squashfs fuse loop nbd ublk_drv null_blk brd
  dm-mod dm-thin-pool dm-snapshot dm-era dm-clone dm-verity dm-flakey dm-log-writes
  target_core_user tcm_loop)
bins=() files=()
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bins+=("$2"); shift 2 ;;
    --file) files+=("$2"); shift 2 ;;
    --mod) mods+=("$2"); shift 2 ;;
    *) echo "mkinitrd: what is $1?" >&2; exit 2 ;;
  esac
done
w=$(mktemp -d)
trap 'rm -rf "$w"' EXIT
mkdir -p "$w"/{bin,sbin,dev,proc,sys,tmp,run,mnt,host,etc,var,root,usr/bin,usr/sbin,usr/lib,lib/modules/"$rel"}
cp /usr/bin/busybox "$w/bin/busybox"
ln -s busybox "$w/bin/sh"
cp "$here/init" "$w/init"
chmod 755 "$w/init"

# modprobe -D prints "insmod /path" in the order to load, or "builtin NAME".
for m in "${mods[@]}"; do
  modprobe -d "$kdir" -S "$rel" -D "$m" 2>/dev/null || echo "mkinitrd: no module $m in $rel" >&2
done | awk '$1=="insmod"{print $2}' | sort -u >"$w/.mods"
while read -r f; do
  t=$w/lib/modules/$rel/${f#"$kdir/lib/modules/$rel/"}
  mkdir -p "${t%/*}"
  case $f in
    *.xz) xz -dc "$f" >"${t%.xz}" ;;
    *.zst) zstd -dcq "$f" >"${t%.zst}" ;;
    *) cp "$f" "$t" ;;
  esac
done <"$w/.mods"
rm "$w/.mods"
cp "$kdir/lib/modules/$rel"/modules.{order,builtin,builtin.modinfo} "$w/lib/modules/$rel/"
depmod -b "$w" "$rel"

put() { # one file at its own path, with what its links lead to
  local p=$1
  [ -e "$w$p" ] && return
  mkdir -p "$w$(dirname "$p")"
  if [ -L "$p" ]; then
    cp -L "$p" "$w$p"
  else
    cp -a "$p" "$w$p"
  fi
}
for b in "${bins[@]}"; do
  p=$(command -v "$b") || { echo "mkinitrd: no program $b" >&2; exit 1; }
  p=$(realpath -s "$p")
  put "$p"
  ldd "$p" 2>/dev/null | awk '{for(i=1;i<=NF;i++) if($i ~ /^\//) print $i}' | while read -r l; do put "$l"; done
done
for f in "${files[@]}"; do
  mkdir -p "$w$(dirname "$f")"
  cp -a "$f" "$w$f"
done
mkdir -p "$(dirname "$out")"
(cd "$w" && find . -mindepth 1 | cpio -o -H newc --quiet) >"$out.part"
mv "$out.part" "$out"
