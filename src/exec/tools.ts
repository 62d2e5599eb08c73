// SPDX-License-Identifier: Apache-2.0
// Which Debian package carries which program: so that "not installed" comes with the way out.

const PACKAGE_OF: Readonly<Record<string, string>> = {
  blkid: 'util-linux',
  blockdev: 'util-linux',
  bunzip2: 'bzip2',
  busybox: 'busybox-static',
  bzip2: 'bzip2',
  cp: 'coreutils',
  crun: 'crun',
  du: 'coreutils',
  dumpe2fs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  filefrag: 'e2fsprogs',
  fio: 'fio',
  fsfreeze: 'util-linux',
  flock: 'util-linux',
  fstrim: 'util-linux',
  'fsck.ext4': 'e2fsprogs',
  gzip: 'gzip',
  ip: 'iproute2',
  losetup: 'mount',
  lz4: 'lz4',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  mmdebstrap: 'mmdebstrap',
  mount: 'mount',
  nsenter: 'util-linux',
  resize2fs: 'e2fsprogs',
  runc: 'runc',
  sh: 'dash',
  sync: 'coreutils',
  tar: 'tar',
  tune2fs: 'e2fsprogs',
  umount: 'mount',
  unshare: 'util-linux',
  xfs_db: 'xfsprogs',
  xfs_growfs: 'xfsprogs',
  xfs_repair: 'xfsprogs',
  xz: 'xz-utils',
  zstd: 'zstd',
};

/** The Debian package that carries a program; undefined when the table does not know it. */
export function debianPackageOf(program: string): string | undefined {
  return Object.hasOwn(PACKAGE_OF, program) ? PACKAGE_OF[program] : undefined;
}
