# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Websocket links: picows listeners that hand frames to the compiled core and let orders out.

A link lives as long as the process; connections come and go under it (connector.py). Received frames are borrowed views:
they go to the core at once, with the two clocks read once per socket read, and the core decides when the read is done.
picows does not put fragments together, so that is done here, up to 16 MiB.

Two ways out. Orders: `TokenPort.send`, called by the compiled gateway alone. Python: `send_control`, which lets the
closed list of control frames through and counts everything else. The session token exists in this module only: it is
copied into the outgoing bytes at the place that the frame leaves for it.
"""

from asyncio import get_running_loop

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from picows.picows cimport WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from cstd._fast.codes cimport LINK_PRIVATE, LINK_PUBLIC
from cstd._fast.port cimport OrderPort
from cstd._fast.sink cimport FrameSink

from cstd.venue.control import TOKEN_PLACE, is_control

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
cdef size_t MESSAGE_BYTES_MAX_C = 16 * 1024 * 1024
cdef Py_ssize_t TOKEN_OFFSET = len(TOKEN_PLACE) - 1

# A token is spliced into JSON as it is, so it may hold nothing that could end the string it stands in.
TOKEN_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.")


cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int *value)
    unsigned long FIONREAD


cdef int64_t _now_ns(int clock) noexcept:
    """Return a clock of the host in ns."""
    cdef timespec now
    clock_gettime(<int>clock, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef class Link(WSListener):
    """One direction-less websocket to the venue; see PublicLink and PrivateLink.

    Args:
        core: where frames go.
        after_batch: called without arguments after a read batch when `core.needs_python` is set, or None.

    `on_up(link)`, `on_down(link, reason)` and `on_fault(error)` are set by the owner. `on_fault` gets what `after_batch`
    raised; without it the error closes the connection.
    """

    def __cinit__(self, FrameSink core not None, after_batch=None):
        self.core = core
        self.code = LINK_PUBLIC
        self.after_batch = after_batch
        self.close_reason = ""
        self.parts = <char *>malloc(FRAGMENT_BYTES_FIRST)
        self.parts_capacity = FRAGMENT_BYTES_FIRST
        self.out = <char *>malloc(HEADER_ROOM + OUT_BYTES_MAX + TAIL_ROOM)
        if self.parts == NULL or self.out == NULL:
            raise MemoryError("no memory for the buffers of a link")
        # Touched now, so that the first order does not take the page faults.
        memset(self.out, 0, HEADER_ROOM + OUT_BYTES_MAX + TAIL_ROOM)

    def __dealloc__(self):
        free(self.parts)
        if self.out != NULL:
            # It may still hold the token of the last frame.
            memset(self.out, 0, HEADER_ROOM + OUT_BYTES_MAX + TAIL_ROOM)
        free(self.out)

    cpdef on_ws_connected(self, WSTransport transport):
        self.transport = transport
        self.parts_n = 0
        self.in_message = False
        self.skipping = False
        self.batch_open = False
        self.writing_paused = False
        self.close_reason = ""
        self.batch_frames = 0
        self.yielding = False
        self.behind_since_ns = 0
        self.mark_bytes = 0
        self.mark_fresh = False
        sock = transport.underlying_transport.get_extra_info("socket")
        self.fd = sock.fileno() if sock is not None else -1
        self.connect_count += 1
        self.up = True
        if self.on_up is not None:
            self.on_up(self)

    cpdef on_ws_disconnected(self, WSTransport transport):
        if transport is not self.transport:
            return
        if not self.close_reason:
            self._count_close(transport)
        self.transport = None
        self.up = False
        self.parts_n = 0
        self.in_message = False
        self.batch_open = False
        self.fd = -1
        self.yielding = False
        self.behind_since_ns = 0
        if self.on_down is not None:
            self.on_down(self, self.close_reason or "connection lost")

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if transport is not self.transport:
            return
        if frame.msg_type == WSMsgType.TEXT:
            self._text(frame)
        elif frame.msg_type == WSMsgType.CONTINUATION:
            self._continuation(frame)
        elif frame.msg_type == WSMsgType.PING:
            # Answered here and not by picows: its own answer would swallow the end of the read batch.
            self.ping_count += 1
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self._on_close(transport, frame)
        elif frame.msg_type == WSMsgType.BINARY:
            self.non_text_count += 1
            self.skipping = not frame.fin
        if frame.last_in_buffer:
            self._end_batch()

    cpdef pause_writing(self):
        self.writing_paused = True

    cpdef resume_writing(self):
        self.writing_paused = False

    def _on_close(self, WSTransport transport, WSFrame frame):
        """Answer the venue's close and end the connection."""
        cdef int code = <int>frame.get_close_code()
        self.close_reason = f"closed by the venue with code {code}"
        transport.send_close(frame.get_close_code())
        transport.disconnect()

    def _count_close(self, WSTransport transport):
        """Name and count an end that picows brought about: it closes by itself on a frame it does not accept."""
        if transport.close_handshake is None or transport.close_handshake.sent is None:
            return
        cdef int code = <int>transport.close_handshake.sent.code
        self.close_reason = f"closed by us with code {code}"
        if code == WSCloseCode.MESSAGE_TOO_BIG:
            self.oversize_count += 1
        if code == WSCloseCode.MESSAGE_TOO_BIG or code == WSCloseCode.PROTOCOL_ERROR:
            self.violation_count += 1

    cdef void _open_batch(self) noexcept:
        if not self.batch_open:
            self.batch_open = True
            self.mono_ns = _now_ns(CLOCK_MONOTONIC)
            self.wall_ns = _now_ns(CLOCK_REALTIME)
            self.batch_frames = 0
            self._look_at_clock(self.mono_ns)
            if self.behind_since_ns:
                self.late_batch_count += 1
                self.core.on_backlog(self.code, self.mono_ns - self.behind_since_ns, self.mono_ns, self.wall_ns)

    def tick(self, int64_t mono_ns):
        """Note that the loop is in time; the owner calls this ten times a second. A tick that fails to come means that what is
        read next may have waited since the one before."""
        self._look_at_clock(mono_ns)
        self.tick_ns = mono_ns
        if self.behind_since_ns and not self.yielding:
            self._catch_up(mono_ns)

    def behind_ns(self, int64_t mono_ns):
        """Return how long ago at most what is read next arrived, ns; 0 while it is read as it arrives."""
        return mono_ns - self.behind_since_ns if self.behind_since_ns else 0

    cdef void _look_at_clock(self, int64_t mono_ns) noexcept:
        if self.tick_ns and mono_ns - self.tick_ns > STALL_NS and self.behind_since_ns == 0:
            self.behind_since_ns = self.tick_ns
            self.mark_bytes = 0

    cdef void _catch_up(self, int64_t mono_ns) noexcept:
        """Find out how much waits in the socket: nothing, or what arrived after the mark that is reached now."""
        cdef int waiting = 0
        if self.fd < 0 or ioctl(self.fd, FIONREAD, &waiting) != 0:
            return
        if waiting == 0:
            self.behind_since_ns = 0
            self.mark_bytes = 0
            return
        if self.mark_bytes and self.byte_count < self.mark_bytes:
            return
        if self.mark_bytes:
            self.behind_since_ns = self.mark_ns
        # Payload only: headers and encryption make the true mark come sooner, never later. Part of a frame may be read
        # already and delivered with the next, so that one is counted on top.
        self.mark_ns = mono_ns
        self.mark_bytes = self.byte_count + waiting
        self.mark_fresh = True

    def _yield_turn(self):
        """Stop reading until the loop has been round once: timers and the other socket are not kept waiting by a flood."""
        if self.behind_since_ns == 0:
            self.behind_since_ns = self.tick_ns if self.tick_ns else self.mono_ns
            self.mark_bytes = 0
        self.yield_count += 1
        self.yielding = True
        self.transport.underlying_transport.pause_reading()
        get_running_loop().call_soon(self._read_on, self.transport)

    def _read_on(self, transport):
        if transport is self.transport and self.yielding:
            self.yielding = False
            if not transport.is_disconnected:
                transport.underlying_transport.resume_reading()

    cdef int _deliver(self, const char *data, size_t n) except -1:
        """Hand one whole text message to the core."""
        self._open_batch()
        self.frame_count += 1
        self.byte_count += <int64_t>n
        self.batch_frames += 1
        if self.mark_fresh:
            self.mark_fresh = False
            self.mark_bytes += <int64_t>n
        self.core.on_frame(self.code, data, n, self.mono_ns, self.wall_ns)
        return 0

    cdef int _end_batch(self) except -1:
        """End the read: the core decides, then Python does what only it can do."""
        if not self.batch_open:
            return 0
        self.batch_open = False
        self.batch_count += 1
        self.core.end_batch(self.code, self.mono_ns, self.wall_ns)
        if self.core.needs_python and self.after_batch is not None:
            try:
                self.after_batch()
            except Exception as error:
                if self.on_fault is None:
                    raise
                self.on_fault(error)
        if self.batch_frames >= TURN_FRAMES_MAX and self.up and not self.yielding and not self.transport.is_disconnected:
            self._yield_turn()
        elif self.behind_since_ns and not self.yielding:
            self._catch_up(self.mono_ns)
        return 0

    cdef int _text(self, WSFrame frame) except -1:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            return self._violation(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set; no extension was agreed")
        if self.in_message or self.skipping:
            return self._violation(WSCloseCode.PROTOCOL_ERROR, "a new message began inside a fragmented one")
        if frame.fin:
            return self._deliver(frame.payload_ptr, <size_t>frame.payload_size)
        self.in_message = True
        self.parts_n = 0
        self.fragment_count += 1
        return self._append(frame.payload_ptr, <size_t>frame.payload_size)

    cdef int _continuation(self, WSFrame frame) except -1:
        if self.skipping:
            self.skipping = not frame.fin
            return 0
        if not self.in_message:
            return self._violation(WSCloseCode.PROTOCOL_ERROR, "a continuation without a beginning")
        self.fragment_count += 1
        self._append(frame.payload_ptr, <size_t>frame.payload_size)
        # _append ends the message itself when it grows too long.
        if frame.fin and self.in_message:
            self.in_message = False
            self._deliver(self.parts, self.parts_n)
        return 0

    cdef int _append(self, const char *data, size_t n) except -1:
        cdef size_t capacity = self.parts_capacity
        cdef char *grown
        if n > MESSAGE_BYTES_MAX_C - self.parts_n:
            self.in_message = False
            self.oversize_count += 1
            return self._violation(WSCloseCode.MESSAGE_TOO_BIG, "a fragmented message is longer than 16 MiB")
        while capacity < self.parts_n + n:
            capacity *= 2
        if capacity != self.parts_capacity:
            grown = <char *>realloc(self.parts, capacity)
            if grown == NULL:
                self.in_message = False
                return self._violation(WSCloseCode.INTERNAL_ERROR, "no memory for a fragmented message")
            self.parts = grown
            self.parts_capacity = capacity
        memcpy(self.parts + self.parts_n, data, n)
        self.parts_n += n
        return 0

    cdef int _violation(self, int close_code, str reason) except -1:
        """End a connection on which the peer broke the websocket protocol."""
        self.violation_count += 1
        self.in_message = False
        self.skipping = False
        self.close_reason = reason
        self.transport.send_close(<WSCloseCode>close_code)
        self.transport.disconnect()
        return 0

    cdef bint _can_send(self) noexcept:
        # picows drops a message silently once a close was sent, and queues without bound while writing is paused.
        return (self.up and self.transport is not None and not self.writing_paused
                and not self.transport.is_close_frame_sent and not self.transport.is_disconnected)

    cdef int _send_out(self, size_t n) noexcept:
        """Send the first `n` payload bytes of `out`; the masking scrambles them, so they are written anew each time."""
        try:
            self.transport.send_reuse_external_buffer(WSMsgType.TEXT, self.out + HEADER_ROOM, <Py_ssize_t>n,
                                                      True, False, False, False)
        except Exception:
            self.unsent_count += 1
            return -1
        return 0

    def send_control(self, bytes frame not None):
        """Send a control frame of the closed list; False when it is refused or there is no connection."""
        if not is_control(frame):
            self.refused_count += 1
            return False
        return self._send_frame(frame)

    def _send_frame(self, bytes frame):
        """Copy a checked frame out. A public link has no token, so a frame with a place for one is refused."""
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        if TOKEN_PLACE in frame or n > OUT_BYTES_MAX:
            self.refused_count += 1
            return False
        if not self._can_send():
            self.unsent_count += 1
            return False
        memcpy(self.out + HEADER_ROOM, PyBytes_AS_STRING(frame), <size_t>n)
        if self._send_out(<size_t>n) != 0:
            return False
        self.control_count += 1
        return True

    def close(self, str reason not None, *, bint graceful=True):
        """Close the connection; `on_down` follows with the reason. Without a connection nothing happens."""
        if self.transport is None:
            return
        self.close_reason = reason
        if not self.transport.is_close_frame_sent:
            self.transport.send_close(WSCloseCode.GOING_AWAY)
        self.transport.disconnect(graceful)

    def status(self):
        """Return the counters that an operator sees."""
        return {
            "up": bool(self.up), "connects": self.connect_count, "frames": self.frame_count, "bytes": self.byte_count,
            "batches": self.batch_count, "fragments": self.fragment_count, "non_text": self.non_text_count,
            "oversize": self.oversize_count, "violations": self.violation_count, "pings": self.ping_count,
            "controls": self.control_count, "refused": self.refused_count, "unsent": self.unsent_count,
            "yields": self.yield_count, "late_batches": self.late_batch_count,
        }


cdef class PublicLink(Link):
    """The public market-data socket."""


cdef class TokenPort(OrderPort):
    """The order port of a private link: the only way an order frame leaves. Made by PrivateLink."""

    cdef int send(self, const char *frame, size_t n, size_t token_at) noexcept:
        """Send one order frame with the token inserted at byte `token_at`. Returns 0 when handed over, else -1."""
        if not self.up or self.link is None or self.link._send_with_token(frame, n, token_at) != 0:
            self.refused_count += 1
            return -1
        self.sent_count += 1
        return 0


cdef class PrivateLink(Link):
    """The private socket: control frames get the token, orders come through `port`.

    The token is set before each connection and wiped at its end, so none is used for two connections.
    """

    def __cinit__(self, FrameSink core not None, after_batch=None):
        self.code = LINK_PRIVATE
        self.token_n = 0
        self.port = TokenPort.__new__(TokenPort)
        self.port.link = self

    def set_token(self, str token not None):
        """Take the session token of the next connection.

        Raises:
            ValueError: it is empty, too long, or holds a character that JSON text would need to escape. The token is not
                part of the message.
        """
        if not token or len(token) >= TOKEN_BYTES_MAX or not TOKEN_ALPHABET.issuperset(token):
            raise ValueError("the venue's token is empty, too long or has unexpected characters")
        cdef bytes encoded = token.encode("ascii")
        memcpy(self.token, PyBytes_AS_STRING(encoded), <size_t>len(encoded))
        self.token_n = <size_t>len(encoded)

    @property
    def has_token(self):
        """Tell whether a token is set."""
        return self.token_n > 0

    cpdef on_ws_connected(self, WSTransport transport):
        self.port.up = True
        Link.on_ws_connected(self, transport)

    cpdef on_ws_disconnected(self, WSTransport transport):
        if transport is not self.transport:
            return
        self.port.up = False
        memset(self.token, 0, TOKEN_BYTES_MAX)
        self.token_n = 0
        Link.on_ws_disconnected(self, transport)

    def _send_frame(self, bytes frame):
        """Copy a checked control frame out, with the token where it leaves room for it."""
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        cdef Py_ssize_t place = frame.find(TOKEN_PLACE)
        if place < 0:
            return Link._send_frame(self, frame)
        if self._send_with_token(PyBytes_AS_STRING(frame), <size_t>n, <size_t>(place + TOKEN_OFFSET)) != 0:
            return False
        self.control_count += 1
        return True

    cdef int _send_with_token(self, const char *frame, size_t n, size_t token_at) noexcept:
        cdef char *payload = self.out + HEADER_ROOM
        if self.token_n == 0 or token_at > n or n > OUT_BYTES_MAX - self.token_n or not self._can_send():
            self.unsent_count += 1
            return -1
        memcpy(payload, frame, token_at)
        memcpy(payload + token_at, self.token, self.token_n)
        memcpy(payload + token_at + self.token_n, frame + token_at, n - token_at)
        return self._send_out(n + self.token_n)
