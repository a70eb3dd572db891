"""Shape of the websocket links; see link.pyx."""

from libc.stdint cimport int64_t, uint64_t

from picows.picows cimport WSListener, WSTransport, WSFrame

from cstd._fast.journal cimport Journal
from cstd._fast.port cimport OrderPort
from cstd._fast.sink cimport FrameSink

cdef enum:
    HEADER_ROOM = 16
    TAIL_ROOM = 64
    OUT_BYTES_MAX = 70000
    TOKEN_BYTES_MAX = 512
    FRAGMENT_BYTES_FIRST = 65536
    BACKLOG_LOOK_BYTES = 16384      # a read of less has emptied the socket: the read buffer is far larger
    SEND_QUEUE_BYTES_MAX = 262144   # what may wait here for a peer that does not read; openings never wait

cdef enum:
    PAUSE_QUARTERS = 3      # of the journal's ring: fuller than this, nothing more is read
    RESUME_QUARTERS = 2

cdef enum:
    BEHIND_NS_MAX = 100000000       # unread bytes for longer than this: the venue is ahead of us, openings end


cdef class Link(WSListener):
    cdef FrameSink core
    cdef int code
    cdef readonly object after_batch
    cdef public object on_up
    cdef public object on_down
    cdef public object on_fault
    cdef readonly WSTransport transport
    cdef readonly bint up
    cdef public object on_behind
    cdef public object on_stall
    cdef public object on_pause
    cdef public Journal journal
    cdef readonly bint reading_paused
    cdef readonly int64_t pause_count
    cdef readonly bint writing_paused
    cdef readonly int64_t stalled_since_ns
    cdef readonly str close_reason
    # Receive side: the message being put together, and the two times of the read batch being delivered.
    cdef char *parts
    cdef size_t parts_n
    cdef size_t parts_capacity
    cdef bint in_message
    cdef bint skipping
    cdef bint batch_open            # frames were delivered that no decision has followed yet
    cdef bint read_open             # the two times are those of the read that is being delivered
    cdef size_t read_bytes
    cdef int fd
    cdef int64_t mono_ns
    cdef int64_t wall_ns
    # Send side: one buffer, with room for the frame header in front.
    cdef char *out
    cdef readonly int64_t frame_count
    cdef readonly int64_t byte_count
    cdef readonly int64_t batch_count
    cdef readonly int64_t fragment_count
    cdef readonly int64_t non_text_count
    cdef readonly int64_t oversize_count
    cdef readonly int64_t violation_count
    cdef readonly int64_t ping_count
    cdef readonly int64_t control_count
    cdef readonly int64_t refused_count
    cdef readonly int64_t unsent_count
    cdef readonly int64_t connect_count
    # What the kernel holds that has not been read, at the end of the last read; since when it is more than nothing.
    cdef readonly int64_t backlog_bytes
    cdef readonly int64_t backlog_bytes_max
    cdef readonly int64_t backlog_since_ns
    cdef readonly int64_t backlog_ns_max
    cdef readonly int64_t deferred_count
    cdef readonly bint behind
    cdef readonly int64_t behind_count
    cdef readonly int64_t stall_count
    cdef readonly int64_t opening_held_count
    cdef readonly int64_t pong_unsent_count

    cdef void _open_read(self) noexcept
    cdef int _end_read(self) except -1
    cdef bint _outrun(self) noexcept
    cdef int _pause_reading(self) except -1
    cdef void _set_behind(self, bint behind) noexcept
    cdef int64_t _queued(self) noexcept
    cdef int _deliver(self, const char *data, size_t n) except -1
    cdef int _text(self, WSFrame frame) except -1
    cdef int _continuation(self, WSFrame frame) except -1
    cdef int _append(self, const char *data, size_t n) except -1
    cdef bint _refused(self, WSTransport transport) except -1
    cdef int _violation(self, int close_code, str reason) except -1
    cdef bint _send_checked(self, bytes frame) except -1
    cdef int _send_out(self, size_t n) noexcept
    cdef bint _can_send(self, size_t n) noexcept


cdef class PublicLink(Link):
    pass


cdef class FuturesLink(Link):
    pass


cdef class TokenPort(OrderPort):
    cdef PrivateLink link
    cdef public Journal journal         # what `make_durable` puts on disk
    cdef public int64_t durable_wait_ns
    cdef public object on_unsynced      # called with the errno, from within a send: its owner only takes note
    cdef uint64_t unsynced_to           # bytes of the journal that the disk did not take in time; 0: it is well
    cdef readonly int64_t durable_count
    cdef readonly int64_t durable_ns
    cdef readonly int64_t durable_ns_max
    cdef readonly int64_t unsynced_count
    cdef readonly int64_t sent_count
    cdef readonly int64_t refused_count

    cpdef bint not_durable(self)


cdef class PrivateLink(Link):
    cdef char token[TOKEN_BYTES_MAX]
    cdef size_t token_n
    cdef readonly TokenPort port

    cdef int _send_with_token(self, const char *frame, size_t n, size_t token_at) noexcept
