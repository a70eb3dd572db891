"""PaperLink and PublicTap: how the simulated venue of mode paper stands where Kraken's private socket stands in live.

A PaperLink is a PrivateLink without a socket: what leaves it, orders through its port and control frames alike, goes to
`on_sent` in this process, and `receive` hands the core what came back, as a read of a socket would. No token, no connection,
no way out of the process. A PublicTap stands between the public link and the core: it hands every frame on, and copies of
them to `on_frames` after the core has decided, while the simulated venue wants them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from cstd._fast.sink cimport FrameSink
from cstd.venue.link cimport HEADER_ROOM, PrivateLink


cdef int64_t _wall_ns() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef class PaperLink(PrivateLink):
    """The private side of mode paper. `on_sent(wall_ns, frame)` is set by the owner and takes what leaves."""

    cdef public object on_sent

    def connect(self):
        """Come up, as a socket does when its connection stands."""
        self.batch_open = self.read_open = False
        self.close_reason = ""
        self.connect_count += 1
        self.up = self.port.up = True
        if self.on_up is not None:
            self.on_up(self)

    def close(self, str reason not None, *, bint graceful=True):
        """Go down; `on_down` follows with the reason. Where it is down nothing happens."""
        if not self.up:
            return
        self.close_reason = reason
        self.up = self.port.up = False
        self.batch_open = self.read_open = False
        if self.on_down is not None:
            self.on_down(self, reason)

    def receive(self, list frames not None):
        """Hand frames to the core, as one read of a socket would."""
        for frame in frames:
            if self.up:  # an earlier one of them may have ended the link
                self._deliver(PyBytes_AS_STRING(frame), <size_t>PyBytes_GET_SIZE(frame))
        self._end_read()

    cdef bint _outrun(self) noexcept:
        return False    # nothing waits in a kernel

    cdef bint _can_send(self, size_t n) noexcept:
        return self.up

    cdef int _send_out(self, size_t n) noexcept:
        return self._hand_over(self.out + HEADER_ROOM, n)

    cdef int _send_with_token(self, const char *frame, size_t n, size_t token_at) noexcept:
        if not self.up:
            self.unsent_count += 1
            return -1
        return self._hand_over(frame, n)

    cdef int _hand_over(self, const char *frame, size_t n) noexcept:
        try:
            self.on_sent(_wall_ns(), PyBytes_FromStringAndSize(frame, <Py_ssize_t>n))
        except Exception as error:
            self.unsent_count += 1
            if self.on_fault is not None:
                self.on_fault(error)
            return -1
        return 0


cdef class PublicTap(FrameSink):
    """Between the public link and the core. core: where frames go.

    `wanted`: whether copies are kept for `on_frames([(wall_ns, frame), ...])`, which is called after each read's decision;
    `on_fault(error)` gets what it raised.
    """

    cdef FrameSink core
    cdef list frames
    cdef public bint wanted
    cdef public object on_frames
    cdef public object on_fault

    def __cinit__(self, FrameSink core not None):
        self.core = core
        self.frames = []

    cdef int on_frame(self, int link, const char *data, size_t n, int64_t mono_ns, int64_t wall_ns) noexcept:
        # Before the core has it: what leaves within this frame begins with the books that have it already.
        if self.wanted:
            self.frames.append((wall_ns, PyBytes_FromStringAndSize(data, <Py_ssize_t>n)))
        return self.core.on_frame(link, data, n, mono_ns, wall_ns)

    cdef void end_batch(self, int link, int64_t mono_ns, int64_t wall_ns) noexcept:
        self.core.end_batch(link, mono_ns, wall_ns)
        if self.frames:
            frames, self.frames = self.frames, []
            try:
                self.on_frames(frames)
            except Exception as error:
                if self.on_fault is not None:
                    self.on_fault(error)
        self.needs_python = self.core.needs_python
