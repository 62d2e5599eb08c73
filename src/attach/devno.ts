// SPDX-License-Identifier: Apache-2.0
// Numbers of devices as the kernel writes them: "7:3".

/** glibc's makedev(3) layout, which is what stat gives. */
export function formatDevno(dev: number): string {
  const wide = BigInt(dev);
  const major = ((wide >> 8n) & 0xfffn) | ((wide >> 32n) & 0xfffff000n);
  const minor = (wide & 0xffn) | ((wide >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}
