#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every NBD command and every error, by libnbd: session.py WRITABLE-URI READ-ONLY-URI.

libnbd's own checks are off where a wrong request has to reach the server.
"""
import errno
import sys

import nbd


def connect(uri, *contexts):
    h = nbd.NBD()
    for context in contexts:
        h.add_meta_context(context)
    h.connect_uri(uri)
    return h


def fails(number, call, *args, **named):
    try:
        call(*args, **named)
    except nbd.Error as error:
        assert error.errnum == number, (call, args, error)
        return
    raise AssertionError(f"{call} {args} did not fail")


def commands(h):
    block = bytes(range(256)) * 16
    h.pwrite(block, 8192)
    h.pwrite(block, 1 << 20, nbd.CMD_FLAG_FUA)
    assert h.pread(4096, 8192) == block
    assert h.pread_structured(4096, 8192, lambda buf, off, status, err: 0, nbd.CMD_FLAG_DF) == block
    h.flush()
    h.cache(4096, 0)
    h.zero(4096, 8192)
    assert h.pread(4096, 8192) == bytes(4096)
    h.zero(4096, 12288, nbd.CMD_FLAG_NO_HOLE)
    h.zero(4096, 16384, nbd.CMD_FLAG_FAST_ZERO)
    h.trim(4096, 1 << 20, nbd.CMD_FLAG_FUA)
    assert h.pread(4096, 1 << 20) == bytes(4096)
    largest = bytes([7]) * (32 << 20)
    h.pwrite(largest, 0)
    assert h.pread(32 << 20, 0) == largest


def unaligned(h):
    h.set_strict_mode(0)
    h.pwrite(b"x" * 8192, 0)
    h.pwrite(b"abc", 1000)
    h.zero(5000, 2000)
    assert h.pread(8192, 0) == b"x" * 1000 + b"abc" + b"x" * 997 + bytes(5000) + b"x" * 1192
    assert h.pread(3, 1000) == b"abc"


def extents(h):
    h.trim(h.get_size(), 0)
    h.pwrite(b"d" * 4096, 65536)
    got = []
    h.block_status(1 << 20, 0, lambda context, off, entries, err: got.append((context, entries)) or 0)
    assert got == [("base:allocation", [65536, 3, 4096, 0, (1 << 20) - 69632, 3])], got
    got.clear()
    h.block_status(1 << 20, 65536, lambda context, off, entries, err: got.append(entries) or 0, nbd.CMD_FLAG_REQ_ONE)
    assert got == [[4096, 0]], got


def sparse(h):
    """A read sends data, and of holes their length; one chunk if wanted."""
    h.trim(h.get_size(), 0)
    h.pwrite(b"d" * 4096, 65536)
    got = []
    take = lambda buf, off, status, err: got.append((off, len(buf), status)) or 0
    expected = bytes(65536) + b"d" * 4096 + bytes((1 << 20) - 69632)
    assert h.pread_structured(1 << 20, 0, take) == expected
    hole, data = nbd.READ_HOLE, nbd.READ_DATA
    assert got == [(0, 65536, hole), (65536, 4096, data), (69632, (1 << 20) - 69632, hole)], got
    got.clear()
    assert h.pread_structured(1 << 20, 0, take, nbd.CMD_FLAG_DF) == expected
    assert got == [(0, 1 << 20, data)], got
    assert h.pread(1 << 20, 0) == expected
    h.cache(1 << 20, 0)


def options(uri):
    """What can be asked before an export is chosen."""
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.add_meta_context("base:")
    h.connect_uri(uri)
    names = []
    assert h.opt_list(lambda name, text: names.append(name) or 0) == 1
    contexts = []
    assert h.opt_list_meta_context(lambda name: contexts.append(name) or 0) >= 1
    assert contexts == ["base:allocation"], contexts
    h.set_export_name("nothing")
    fails(errno.ENOENT, h.opt_info)
    h.set_export_name(names[0])
    h.opt_info()
    size = h.get_size()
    assert h.get_block_size(nbd.SIZE_MINIMUM) == 512
    h.opt_go()
    assert h.get_size() == size
    h.shutdown()


def without_structured_replies(uri):
    """As the kernel's client: simple replies, zeros as they are."""
    h = nbd.NBD()
    h.set_request_structured_replies(False)
    h.connect_uri(uri)
    h.set_strict_mode(0)
    h.zero(8192, 0)
    h.pwrite(b"s" * 4096, 4096)
    assert h.pread(8192, 0) == bytes(4096) + b"s" * 4096
    fails(errno.EINVAL, h.pread, 4096, 0, nbd.CMD_FLAG_DF)
    fails(errno.EINVAL, h.block_status, 4096, 0, lambda *args: 0)
    h.shutdown()


def errors(h):
    size = h.get_size()
    h.set_strict_mode(0)
    fails(errno.EINVAL, h.pread, 512, size)
    fails(errno.EINVAL, h.pread, 0, 0)
    fails(errno.EINVAL, h.pread, 512, 0, 1 << 9)
    fails(errno.EINVAL, h.pread, (32 << 20) + 512, 0)
    fails(errno.ENOSPC, h.pwrite, b"x" * 1024, size - 512)
    fails(errno.ENOSPC, h.zero, 1024, size - 512)
    fails(errno.EINVAL, h.trim, 1024, size - 512)
    fails(errno.EINVAL, h.cache, 1024, size)
    fails(errno.EINVAL, h.trim, 512, 0, 1 << 9)
    fails(errno.EINVAL, h.block_status, 512, size, lambda *args: 0)
    fails(errno.ENOTSUP, h.zero, 4096, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)
    # The connection has survived all that.
    assert h.pread(512, 0) is not None


def read_only(h):
    assert h.is_read_only()
    h.set_strict_mode(0)
    fails(errno.EPERM, h.pwrite, b"x" * 512, 0)
    fails(errno.EPERM, h.trim, 4096, 0)
    fails(errno.EPERM, h.zero, 4096, 0)
    h.flush()
    assert len(h.pread(4096, 0)) == 4096


def flush_covers_all(uri):
    """CAN_MULTI_CONN: what one connection was answered, another one reads and flushes."""
    one, two = connect(uri), connect(uri)
    assert one.can_multi_conn()
    one.pwrite(b"1" * 4096, 0)
    two.flush()
    assert two.pread(4096, 0) == b"1" * 4096
    for h in (one, two):
        h.shutdown()


def out_of_order(uri):
    """Many requests at a time; each answer is its own."""
    h = connect(uri)
    for i in range(64):
        h.pwrite(bytes([i]) * 4096, i * 4096)
    buffers = [nbd.Buffer(4096) for _ in range(64)]
    cookies = [h.aio_pread(buffer, i * 4096) for i, buffer in enumerate(buffers)]
    while h.aio_in_flight() > 0:
        h.poll(-1)
        for cookie in list(cookies):
            if h.aio_command_completed(cookie):
                cookies.remove(cookie)
    for i, buffer in enumerate(buffers):
        assert buffer.to_bytearray() == bytes([i]) * 4096
    h.shutdown()


writable, other = sys.argv[1:3]
handle = connect(writable, "base:allocation")
commands(handle)
unaligned(handle)
extents(handle)
sparse(handle)
errors(handle)
handle.shutdown()
options(writable)
without_structured_replies(writable)
flush_covers_all(writable)
out_of_order(writable)
handle = connect(other)
read_only(handle)
handle.shutdown()
fails(errno.ENOENT, connect, writable.replace("/disk", "/nothing"))
print("all as it should be")
