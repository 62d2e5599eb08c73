#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the guest: runs a command with the root and the control groups that container runtimes want.
#
# The guest runs us under chroot, and what joins a container's mount namespace there does not see the container's root. So
# the chroot's directory is moved to be the root of a mount namespace of its own.
set -e
mount -t cgroup2 none /sys/fs/cgroup
busybox=/bin/busybox
exec nsenter --target 1 --mount --root $busybox unshare -m $busybox sh -c '
  cd /new && mount --move . / && exec chroot . /bin/sh -c "cd \"\$0\" && exec \"\$@\"" "$@"
' sh "$PWD" "$@"
