"""Drive the engine from compiled code and time each frame, for `cstd bench` and the benchmark suite.

The loop is here because two Python calls a frame would cost more than what is measured. Each frame is first copied into
one buffer, where a socket read leaves the frames of a link too. Orders that the bench strategy sends are closed again
between frames. Neither is timed.
"""
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from cstd._fast.codes cimport LINK_PUBLIC
from cstd._fast.core cimport Core
from cstd._fast.gateway cimport COUNT_CANCELS
from cstd._fast.hist cimport stamp

cdef extern from "time.h" nogil:
    ctypedef long time_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    int nanosleep(const timespec *request, timespec *rest)


cdef enum:
    LINE_BYTES = 64


def drive(Core core, list frames, int64_t mono_ns, int64_t wall_ns, int64_t step_ns, long pause_ns=0, size_t swept_bytes=0):
    """Feed `frames` (bytes), each a read batch of its own, `step_ns` of event time apart.

    Args:
        core: a booted engine core.
        pause_ns: real sleep before each frame, so that caches cool as on a quiet market; 0 for none.
        swept_bytes: memory read before each frame, so that nothing of the path is in caches smaller than that; 0 for none.

    Returns:
        (to_end, to_order): cycles from handing a frame over to the end of its batch, and to its order bytes, by the
        engine's own stamps; uint64 arrays of shape (len(frames),), 0 where a frame led to no pass, or to no order.
    """
    cdef Py_ssize_t i
    cdef Py_ssize_t n = len(frames)
    cdef uint64_t start
    cdef bytes frame
    cdef size_t size
    cdef timespec pause
    cdef Py_ssize_t longest = 0
    others = PyByteArray_FromStringAndSize(NULL, swept_bytes)
    memset(PyByteArray_AS_STRING(others), 1, swept_bytes)   # or all of it would be one page of zeros
    for i in range(n):
        longest = max(longest, PyBytes_GET_SIZE(<bytes>PyList_GET_ITEM(frames, i)))
    received = PyByteArray_FromStringAndSize(NULL, longest)
    cdef char *buffer = PyByteArray_AS_STRING(received)
    to_end = np.zeros(n, dtype=np.uint64)
    to_order = np.zeros(n, dtype=np.uint64)
    cdef uint64_t[::1] end_view = to_end
    cdef uint64_t[::1] order_view = to_order
    pause.tv_sec = 0
    pause.tv_nsec = pause_ns
    for i in range(n):
        frame = <bytes>PyList_GET_ITEM(frames, i)
        size = PyBytes_GET_SIZE(frame)
        mono_ns += step_ns
        wall_ns += step_ns
        if pause_ns:
            nanosleep(&pause, NULL)
        _sweep(PyByteArray_AS_STRING(others), swept_bytes)
        memcpy(buffer, PyBytes_AS_STRING(frame), size)
        core.encoded_cycles = core.batch_cycles = 0
        start = stamp()
        core.on_frame(LINK_PUBLIC, buffer, size, mono_ns, wall_ns)
        core.end_batch(LINK_PUBLIC, mono_ns, wall_ns)
        if core.batch_cycles:
            end_view[i] = stamp() - start
        if core.encoded_cycles:
            order_view[i] = core.encoded_cycles - core.batch_cycles
        _close_orders(core)
    return to_end, to_order


def drive_pulled(Core core, list frames, int64_t mono_ns, int64_t wall_ns, int64_t step_ns):
    """Feed `frames` in turns: one leads to an opening, and at the next the kill latch's gate fails for what rests.

    Args:
        core: a booted engine core, whose strategy wishes to open at every pass.

    Returns:
        Cycles from handing a frame over to the end of the pass in which the cancel went out, the next wish, refused, included;
        a uint64 array of shape (len(frames),), 0 where a frame pulled nothing.
    """
    cdef Py_ssize_t i
    cdef Py_ssize_t n = len(frames)
    cdef uint64_t start
    cdef int64_t cancels
    cdef bytes frame
    to_cancel = np.zeros(n, dtype=np.uint64)
    cdef uint64_t[::1] cancel_view = to_cancel
    for i in range(n):
        frame = <bytes>PyList_GET_ITEM(frames, i)
        mono_ns += step_ns
        wall_ns += step_ns
        core.kill_latched = core.orders.live_count > 0
        cancels = core.counters[COUNT_CANCELS]
        start = stamp()
        core.on_frame(LINK_PUBLIC, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), mono_ns, wall_ns)
        core.end_batch(LINK_PUBLIC, mono_ns, wall_ns)
        if core.counters[COUNT_CANCELS] > cancels:
            cancel_view[i] = stamp() - start
            _close_orders(core)
    _close_orders(core)
    core.kill_latched = False
    return to_cancel


def counted(Core core, list frames, int64_t mono_ns, int64_t wall_ns, int64_t step_ns, size_t swept_bytes=0):
    """`drive` under a name of its own, at which an instruction counter is switched on."""
    return drive(core, frames, mono_ns, wall_ns, step_ns, 0, swept_bytes)


cdef void _sweep(const char *others, size_t n) noexcept nogil:
    """Read every line of others."""
    cdef size_t at = 0
    cdef volatile char _read
    while at < n:
        _read = others[at]
        at += LINE_BYTES


cdef void _close_orders(Core core) noexcept:
    """Forget what was sent: there is no venue behind the bench."""
    while core.orders.live_count:
        core.orders.release(core.orders.live[0])
