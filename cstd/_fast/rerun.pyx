"""The journal's common records fed to the engine again, and its outputs compared: the loop of recovery and of `--check`.
Also the loop over a recording's frames for as long as nothing has been sent.

Two Python calls a record would cost several times what is computed again. Whatever is not common (another event, an output
that differs or is missing) is left to `cstd.engine.replaying`, which says what it is.
"""
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int64_t

from cstd._fast.codes cimport EVENT_BATCH_END, EVENT_FRAME
from cstd._fast.core cimport Core
from cstd._fast.journal_scan cimport Record

cdef enum:
    FIRST_OUTPUT = 64       # kinds from here on are outputs

first_output = FIRST_OUTPUT


def rerun(Core core, list batch not None, Py_ssize_t at):
    """Take records from index `at` on: frames, ends of batches, and outputs that are what the engine put out.

    Args:
        core: an engine whose recorder captures its outputs.
        batch: journal records in order.

    Returns:
        (next, events, outputs): the index of the first record that was not taken, or len(batch); how many events were fed
        and outputs matched. Also stops behind an event after which the engine wants to be looked at (`needs_python`).
    """
    cdef Record record
    cdef list captured = core.recorder.captured
    cdef Py_ssize_t events = 0
    cdef Py_ssize_t outputs = 0
    while at < PyList_GET_SIZE(batch) and not core.needs_python:
        record = <Record?>PyList_GET_ITEM(batch, at)
        if record.kind >= FIRST_OUTPUT:
            if not captured or captured[0] != (record.kind, record.tag, record.payload):
                break
            del captured[0]
            outputs += 1
        elif captured:
            break
        elif record.kind == EVENT_FRAME:
            core.on_frame(record.tag, <const char *>record.payload, len(record.payload), record.mono_ns, record.wall_ns)
            events += 1
        elif record.kind == EVENT_BATCH_END:
            core.end_batch(record.tag, record.mono_ns, record.wall_ns)
            events += 1
        else:
            break
        at += 1
    return at, events, outputs


def frames_until_order(Core core, int link, list rows not None, Py_ssize_t at):
    """Take frames (recv_ns, bytes) from index `at` on, each a read batch of its own, as long as no order of ours is live.

    Returns the index of the first row that was not taken, or len(rows): also of one that is no plain tuple, which is no frame.
    """
    cdef int64_t recv_ns
    cdef bytes data
    cdef object row
    while at < PyList_GET_SIZE(rows) and core.orders.live_count == 0:
        row = rows[at]
        if not PyTuple_CheckExact(row):
            break
        recv_ns, data = row
        core.on_frame(link, <const char *>data, len(data), recv_ns, recv_ns)
        core.end_batch(link, recv_ns, recv_ns)
        at += 1
    return at
