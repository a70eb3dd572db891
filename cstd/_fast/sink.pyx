# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""FrameSink: what a link hands received frames to.

`data` is a borrowed view into the link's receive buffer: it is valid until `on_frame` returns and no longer. All frames
of one socket read carry the same two times and are followed by one `end_batch`, which is where decisions are made.
After the batch the link looks at `needs_python`: when true it calls its Python callable once, so that work that only
Python can do (control frames, slow messages, timers) runs outside the compiled path.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t


cdef class FrameSink:
    """Take frames and ends of read batches; the base class ignores them and the engine overrides both methods."""

    cdef int on_frame(self, int link, const char *data, size_t n, int64_t mono_ns, int64_t wall_ns) noexcept:
        """Take one whole text message of `n` bytes from `link` (codes.Link). Returns 0, or -1 when it was refused."""
        return 0

    cdef void end_batch(self, int link, int64_t mono_ns, int64_t wall_ns) noexcept:
        """Mark the end of one socket read: everything that had arrived has been handed over."""
        return

    cdef void on_backlog(self, int link, int64_t waited_ns, int64_t mono_ns, int64_t wall_ns) noexcept:
        """Tell before a batch that its frames may have waited this long to be read."""
        return


cdef class RecordingSink(FrameSink):
    """Keep copies of what a link delivered, up to `capacity` frames; for probes and tests, never in the trading path."""

    def __cinit__(self, size_t capacity=4096, bint wants_python=False):
        self._frames = []
        self._batches = []
        self._backlogs = []
        self._capacity = capacity
        self.dropped_count = 0
        self.wants_python = wants_python

    @property
    def frames(self):
        """Return (link, payload bytes, mono_ns, wall_ns) of each frame, in order of arrival."""
        return list(self._frames)

    @property
    def backlogs(self):
        """Return (link, waited_ns, frames so far) of each batch that came late."""
        return list(self._backlogs)

    @property
    def batches(self):
        """Return (link, frames so far, mono_ns, wall_ns) at each end of a read batch."""
        return list(self._batches)

    cdef int on_frame(self, int link, const char *data, size_t n, int64_t mono_ns, int64_t wall_ns) noexcept:
        if <size_t>len(self._frames) >= self._capacity:
            self.dropped_count += 1
            return -1
        self._frames.append((link, PyBytes_FromStringAndSize(data, n), mono_ns, wall_ns))
        return 0

    cdef void end_batch(self, int link, int64_t mono_ns, int64_t wall_ns) noexcept:
        self.needs_python = self.wants_python
        if <size_t>len(self._batches) < self._capacity:
            self._batches.append((link, len(self._frames), mono_ns, wall_ns))

    cdef void on_backlog(self, int link, int64_t waited_ns, int64_t mono_ns, int64_t wall_ns) noexcept:
        if <size_t>len(self._backlogs) < self._capacity:
            self._backlogs.append((link, waited_ns, len(self._frames)))
