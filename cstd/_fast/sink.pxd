"""The seam between a link and the engine: where received bytes enter; see sink.pyx."""

from libc.stdint cimport int64_t


cdef class FrameSink:
    cdef public bint needs_python
    cdef int on_frame(self, int link, const char *data, size_t n, int64_t mono_ns, int64_t wall_ns) noexcept
    cdef void end_batch(self, int link, int64_t mono_ns, int64_t wall_ns) noexcept
    cdef void on_backlog(self, int link, int64_t waited_ns, int64_t mono_ns, int64_t wall_ns) noexcept


cdef class RecordingSink(FrameSink):
    cdef list _backlogs
    cdef list _frames
    cdef list _batches
    cdef size_t _capacity
    cdef public int64_t dropped_count
    cdef public bint wants_python
