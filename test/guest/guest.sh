#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Boots a guest kernel, runs one command in it and ends with its exit status.
#
#   guest.sh [options] -- COMMAND [ARG]...
#     -k DIR    kernel folder made by fetch.sh (GUEST_KERNEL)
#     -q PATH   folder of a private QEMU made by fetch.sh (GUEST_QEMU; else the installed one)
#     -s DIR    host folder shared writable at the same path (may be repeated)
#     -m LIST   modules to load first, comma-separated
#     -t SEC    time limit (120); 124 is returned when it runs out
#     -c N      processors (2)     -M MIB   memory (2048)
#     -d IMAGE  raw file as /dev/vda (may be repeated)
#     -l FILE   where the kernel's console goes (default: a temporary file,
#               shown when the guest ends without a status)
#     -i FILE   initramfs to use or make (default: made beside the kernel)
#     -a ACCEL  tcg (default) or kvm
# The guest sees the host's root read-only with a layer in memory over it, so
# programs and libraries need no copying. Output comes through a virtio port,
# apart from the kernel's console.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
k=${GUEST_KERNEL:-} q=${GUEST_QEMU:-} limit=120 smp=2 mem=2048 log= initrd= mods= accel=tcg
shares=() disks=()
while getopts k:q:s:m:t:c:M:d:l:i:a: o; do
  case $o in
    k) k=$OPTARG ;; q) q=$OPTARG ;; s) shares+=("$(realpath "$OPTARG")") ;; m) mods=$OPTARG ;;
    t) limit=$OPTARG ;; c) smp=$OPTARG ;; M) mem=$OPTARG ;; d) disks+=("$OPTARG") ;;
    l) log=$OPTARG ;; i) initrd=$OPTARG ;; a) accel=$OPTARG ;; *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ -n "$k" ] && [ $# -gt 0 ] || { sed -n '2,22p' "$0" >&2; exit 2; }
initrd=${initrd:-$k/guest.cpio}
if [ ! -e "$initrd" ] || [ "$here/init" -nt "$initrd" ] || [ "$here/mkinitrd.sh" -nt "$initrd" ]; then
  "$here/mkinitrd.sh" "$k" "$initrd"
fi
tmp=$(mktemp -d)
pid=
trap '[ -n "$pid" ] && kill -9 $pid 2>/dev/null; rm -rf "$tmp"' EXIT
log=${log:-$tmp/console}

# The command travels as a second, tiny initramfs laid over the first.
mkdir "$tmp/i"
{
  printf 'cd %q 2>/dev/null || cd /\n' "$PWD"
  printf '%q ' "$@"
  echo
} >"$tmp/i/guest-cmd"
(cd "$tmp/i" && echo guest-cmd | cpio -o -H newc --quiet) >"$tmp/cmd.cpio"
cat "$initrd" "$tmp/cmd.cpio" >"$tmp/initrd"

qemu=(qemu-system-x86_64)
[ -z "$q" ] || export QEMU_MODULE_DIR=$q/usr/lib/x86_64-linux-gnu/qemu
[ -z "$q" ] || qemu=("$q/usr/bin/qemu-system-x86_64" -L "$q/usr/share/seabios" -L "$q/usr/share/qemu")
case $accel in
  tcg)
    # QEMU 7.2 spoils the flags of CMPXCHG16B now and then, and its threads race
    # with a kernel that patches its own code: kernels from 6.12 on die of either
    # (3 to 40 boots of 100). Without the feature, and with one thread for all
    # processors, they do not. QEMU 10.0 needs neither.
    cpu=max thread=multi
    case $("${qemu[0]}" --version) in *" version "[5-7].*) cpu=max,-cx16 thread=single ;; esac
    acc=(-accel "tcg,thread=$thread,tb-size=1024" -cpu "$cpu") ;;
  kvm) acc=(-accel kvm -cpu host) ;;
esac
append="console=ttyS0 loglevel=4 nokaslr no_timer_check mitigations=off panic=-1 guest.fs=9p guest.root=host"
[ -z "$mods" ] || append+=" guest.mods=$mods"
args=(-nodefaults -no-user-config -M q35 "${acc[@]}" -smp "$smp" -m "$mem" -display none -no-reboot
  -kernel "$k/vmlinuz" -initrd "$tmp/initrd"
  -chardev "file,id=con,path=$log" -serial chardev:con
  -device virtio-serial-pci
  -chardev "file,id=out,path=$tmp/out,append=on" -device virtserialport,chardev=out,name=guest.out
  -chardev "file,id=rc,path=$tmp/rc" -device virtserialport,chardev=rc,name=guest.rc
  -fsdev local,id=root,path=/,security_model=passthrough,multidevs=remap,readonly=on
  -device virtio-9p-pci,fsdev=root,mount_tag=root
  -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng)
n=0
for s in "${shares[@]}"; do
  args+=(-fsdev "local,id=s$n,path=$s,security_model=passthrough,multidevs=remap"
    -device "virtio-9p-pci,fsdev=s$n,mount_tag=s$n")
  append+=" guest.share=s$n:$s"
  n=$((n + 1))
done
n=0
for d in "${disks[@]}"; do
  args+=(-drive "file=$d,format=raw,if=none,id=d$n,cache=unsafe,discard=unmap,aio=threads"
    -device "virtio-blk-pci,drive=d$n,serial=d$n")
  n=$((n + 1))
done
mkfifo "$tmp/out"
for try in 1 2; do
  cat "$tmp/out" &
  cat=$!
  timeout -k 5 "$limit" "${qemu[@]}" "${args[@]}" -append "$append" </dev/null 2>"$tmp/qemu.err" &
  pid=$!
  r=0
  wait "$pid" || r=$?
  pid=
  exec 9<>"$tmp/out" 9>&- # cat ends even where QEMU never opened its end
  wait "$cat" 2>/dev/null || true
  # A kernel that died before the command began is the emulator's fault, not the command's.
  [ -s "$tmp/rc" ] || grep -aq 'guest: up' "$log" || [ $r -eq 124 ] || { echo "guest: died while starting, once more" >&2; continue; }
  break
done
if [ -s "$tmp/rc" ]; then
  exit "$(cat "$tmp/rc")"
fi
cat "$tmp/qemu.err" >&2
tail -40 "$log" >&2
[ $r -eq 124 ] || [ $r -eq 137 ] && { echo "guest: the limit of $limit s ran out" >&2; exit 124; }
echo "guest: it ended without a status" >&2
exit 125
