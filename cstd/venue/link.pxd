"""Shape of the websocket links; see link.pyx."""

from libc.stdint cimport int64_t

from picows.picows cimport WSListener, WSTransport, WSFrame

from cstd._fast.port cimport OrderPort
from cstd._fast.sink cimport FrameSink

cdef enum:
    HEADER_ROOM = 16
    TAIL_ROOM = 64
    OUT_BYTES_MAX = 70000
    TOKEN_BYTES_MAX = 512
    FRAGMENT_BYTES_FIRST = 65536
    TURN_FRAMES_MAX = 512               # frames of one read after which others of the loop come first
    STALL_NS = 250000000                # two ticks and a half


cdef class Link(WSListener):
    cdef FrameSink core
    cdef int code
    cdef readonly object after_batch
    cdef public object on_up
    cdef public object on_down
    cdef public object on_fault
    cdef readonly WSTransport transport
    cdef readonly bint up
    cdef readonly bint writing_paused
    cdef readonly str close_reason
    # Receive side: the message being put together, and the two times of the read batch being delivered.
    cdef char *parts
    cdef size_t parts_n
    cdef size_t parts_capacity
    cdef bint in_message
    cdef bint skipping
    cdef bint batch_open
    cdef int64_t mono_ns
    cdef int64_t wall_ns
    cdef int batch_frames
    # How far behind the reading is. All that is read now arrived after `behind_since_ns` (0: it is read as it arrives);
    # once `byte_count` reaches `mark_bytes`, all that had arrived by `mark_ns` has been read.
    cdef int fd
    cdef bint yielding
    cdef bint mark_fresh
    cdef int64_t tick_ns
    cdef int64_t behind_since_ns
    cdef int64_t mark_ns
    cdef int64_t mark_bytes
    cdef readonly int64_t yield_count
    cdef readonly int64_t late_batch_count
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

    cdef void _open_batch(self) noexcept
    cdef void _look_at_clock(self, int64_t mono_ns) noexcept
    cdef void _catch_up(self, int64_t mono_ns) noexcept
    cdef int _deliver(self, const char *data, size_t n) except -1
    cdef int _end_batch(self) except -1
    cdef int _text(self, WSFrame frame) except -1
    cdef int _continuation(self, WSFrame frame) except -1
    cdef int _append(self, const char *data, size_t n) except -1
    cdef int _violation(self, int close_code, str reason) except -1
    cdef int _send_out(self, size_t n) noexcept
    cdef bint _can_send(self) noexcept


cdef class PublicLink(Link):
    pass


cdef class TokenPort(OrderPort):
    cdef PrivateLink link
    cdef readonly int64_t sent_count
    cdef readonly int64_t refused_count


cdef class PrivateLink(Link):
    cdef char token[TOKEN_BYTES_MAX]
    cdef size_t token_n
    cdef readonly TokenPort port

    cdef int _send_with_token(self, const char *frame, size_t n, size_t token_at) noexcept
