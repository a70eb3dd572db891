"""OrderPort: what the gateway hands finished order frames to.

The base class refuses everything, so an engine without a link sends nothing. The private link derives from it and
splices the session token into the frame at `token_at`; the engine, the journal and the digest never see a token.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize


cdef class OrderPort:
    """Refuse every frame; links override `send`."""

    def __cinit__(self):
        self.up = False
        self.durable = False

    cdef int make_durable(self) noexcept:
        """Put on disk what is on record. Returns 0, or -1 when it is not known to be there: then no opening may leave."""
        return -1

    cdef int send(self, const char *frame, size_t n, size_t token_at, bint opening) noexcept:
        """Send one order frame; `opening`: it adds exposure. Returns 0 when handed to the socket, -1 when it was not."""
        return -1


cdef class KeptPort(OrderPort):
    """Keep the frames instead of sending them, for whoever stands in for the venue: the simulated one of a replay."""

    def __cinit__(self):
        self.frames = []

    cdef int make_durable(self) noexcept:
        return 0

    cdef int send(self, const char *frame, size_t n, size_t token_at, bint opening) noexcept:
        self.frames.append(PyBytes_FromStringAndSize(frame, n))
        return 0

    def take(self):
        """Frames since the last call, in the order in which they were sent."""
        taken, self.frames = self.frames, []
        return taken
