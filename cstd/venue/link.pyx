"""Websocket links: picows listeners that hand frames to the compiled core and let orders out.

A link lives as long as the process; connections come and go under it (connector.py). Received frames are borrowed views:
they go to the core at once, with the two clocks read once per socket read, and the core decides when the read is done.
picows does not put fragments together, so that is done here, up to 16 MiB.

A decision is made on the newest that there is: while the kernel holds more for the socket, the end of the batch waits for
the next read. That is counted (`backlog_bytes`, `deferred_count`) and bounded: when it has gone on for BEHIND_NS_MAX the
link is `behind`, its owner is told, so that openings end, and decisions about what rests go on with each read.

What is read must fit into the journal. With `journal` set, the link stops reading while more than three quarters of the
ring wait for the disk, and is behind at once; the bytes wait in the socket, and the venue in the end, instead of halting
the daemon. The owner, told by `on_pause`, calls `resume_reading` until that is True.

What goes out does not wait for a peer that does not read: once a byte is queued in this process the link is stalled, its
owner is told, an opening is refused at once and counted; a cancel, an exit or a control frame may queue, up to
SEND_QUEUE_BYTES_MAX, and so is the next to leave.

Two ways out. Orders: `TokenPort.send`, called by the compiled gateway alone. Python: `send_control`, which lets the
closed list of control frames through and counts everything else. The session token exists in this module only: it is
copied into the outgoing bytes at the place that the frame leaves for it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.ioctl cimport ioctl
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from picows.picows cimport WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from cstd._fast.codes cimport LINK_FUTURES, LINK_PRIVATE, LINK_PUBLIC
from cstd._fast.port cimport OrderPort
from cstd._fast.sink cimport FrameSink

from cstd.venue.control import TOKEN_PLACE, is_control, is_futures_control

import socket

cdef extern from "<sys/ioctl.h>" nogil:
    int FIONREAD

# Orders that the kernel keeps for a peer that does not read; it doubles the number. Beyond it the link is stalled.
PRIVATE_SEND_BUFFER_BYTES = 64 * 1024

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
cdef size_t MESSAGE_BYTES_MAX_C = 16 * 1024 * 1024
cdef Py_ssize_t TOKEN_OFFSET = len(TOKEN_PLACE) - 1

# A token is spliced into JSON as it is, so it may hold nothing that could end the string it stands in.
TOKEN_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.")


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
    raised; without it the error closes the connection. `on_behind(link, behind)` is called at the end of a read, before
    its decision; `on_stall(link, stalled)` from within a send, so its owner only takes note; `on_pause(link)` when it stops
    reading.
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
        self.batch_open = self.read_open = False
        self.writing_paused = self.behind = self.reading_paused = False
        self.backlog_bytes = self.backlog_since_ns = self.stalled_since_ns = 0
        self.close_reason = ""
        self.connect_count += 1
        self.fd = transport.underlying_transport.get_extra_info("socket").fileno()
        # The first byte that the kernel does not take is a stall. Not 0: a TLS transport compares with >=.
        transport.underlying_transport.set_write_buffer_limits(high=1, low=0)
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
        self.batch_open = self.read_open = False
        self.reading_paused = False
        self.backlog_bytes = self.backlog_since_ns = 0
        if self.on_down is not None:
            self.on_down(self, self.close_reason or "connection lost")

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if transport is not self.transport or (transport.close_handshake is not None and self._refused(transport)):
            return
        if frame.msg_type == WSMsgType.TEXT:
            self._text(frame)
        elif frame.msg_type == WSMsgType.CONTINUATION:
            self._continuation(frame)
        elif frame.msg_type == WSMsgType.PING:
            # Answered here and not by picows: its own answer would swallow the end of the read batch.
            self.ping_count += 1
            if self._queued() > SEND_QUEUE_BYTES_MAX:
                self.pong_unsent_count += 1
            else:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self._on_close(transport, frame)
        elif frame.msg_type == WSMsgType.BINARY:
            self.non_text_count += 1
            self.skipping = not frame.fin
        if frame.last_in_buffer:
            self._end_read()

    cdef bint _refused(self, WSTransport transport) except -1:
        """Whether we close for what the protocol forbids: picows hands over a frame that it refused, once it is whole."""
        sent = transport.close_handshake.sent
        return sent is not None and sent.code in (WSCloseCode.MESSAGE_TOO_BIG, WSCloseCode.PROTOCOL_ERROR)

    cpdef pause_writing(self):
        self.writing_paused = True
        self.stall_count += 1
        self.stalled_since_ns = _now_ns(CLOCK_MONOTONIC)
        if self.on_stall is not None:
            self.on_stall(self, True)

    cpdef resume_writing(self):
        self.writing_paused = False
        self.stalled_since_ns = 0
        if self.on_stall is not None:
            self.on_stall(self, False)

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

    cdef void _open_read(self) noexcept:
        if not self.read_open:
            self.read_open = self.batch_open = True
            self.read_bytes = 0
            self.mono_ns = _now_ns(CLOCK_MONOTONIC)
            self.wall_ns = _now_ns(CLOCK_REALTIME)

    cdef int _deliver(self, const char *data, size_t n) except -1:
        """Hand one whole text message to the core."""
        self._open_read()
        self.frame_count += 1
        self.byte_count += <int64_t>n
        self.read_bytes += n
        self.core.on_frame(self.code, data, n, self.mono_ns, self.wall_ns)
        return 0

    cdef bint _outrun(self) noexcept:
        """Whether the kernel holds more than was read, so that a decision now would be on what is known to be old.

        Looks only after a large read, or while there is a backlog: the system call would cost every frame of a quiet
        market. False once that has gone on for BEHIND_NS_MAX: then the link is behind instead.
        """
        cdef int unread = 0
        if self.reading_paused:
            return False        # what is not read cannot be looked for: behind until reading goes on
        if self.read_bytes >= BACKLOG_LOOK_BYTES or self.backlog_since_ns:
            if ioctl(self.fd, FIONREAD, &unread) != 0:
                unread = 0
        self.backlog_bytes = unread
        if unread == 0:
            self.backlog_since_ns = 0
            if self.behind:
                self._set_behind(False)
            return False
        if self.backlog_since_ns == 0:
            self.backlog_since_ns = self.mono_ns
        self.backlog_bytes_max = max(self.backlog_bytes_max, self.backlog_bytes)
        self.backlog_ns_max = max(self.backlog_ns_max, self.mono_ns - self.backlog_since_ns)
        if not self.behind and self.mono_ns - self.backlog_since_ns <= BEHIND_NS_MAX:
            self.deferred_count += 1
            return True
        if not self.behind:
            self._set_behind(True)
        return False

    cdef int _pause_reading(self) except -1:
        self.transport.underlying_transport.pause_reading()
        self.reading_paused = True
        self.pause_count += 1
        if not self.behind:
            self._set_behind(True)
        if self.on_pause is not None:
            self.on_pause(self)
        return 0

    def resume_reading(self):
        """Read again once half of the journal's ring is free; True when the link reads, or has no connection."""
        if not self.reading_paused:
            return True
        if self.journal is not None and self.journal.fuller(RESUME_QUARTERS):
            return False
        self.reading_paused = False
        self.transport.underlying_transport.resume_reading()
        # A batch that nothing more will follow must not leave the link behind.
        self.backlog_since_ns = max(self.backlog_since_ns, 1)
        self._outrun()
        return True

    cdef void _set_behind(self, bint behind) noexcept:
        self.behind = behind
        self.behind_count += behind
        if self.on_behind is None:
            return
        try:
            self.on_behind(self, behind)
        except Exception as error:
            if self.on_fault is not None:
                self.on_fault(error)

    cdef int _end_read(self) except -1:
        """End the read: the core decides, unless more is waiting, then Python does what only it can do."""
        if not self.batch_open:
            return 0
        self.read_open = False
        if self.journal is not None and self.journal.fuller(PAUSE_QUARTERS):
            self._pause_reading()
        if self._outrun():
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

    cdef int64_t _queued(self) noexcept:
        """Bytes that wait in this process because the kernel has no room for them."""
        if self.transport is None or not self.writing_paused:
            return 0
        try:
            return self.transport.underlying_transport.get_write_buffer_size()
        except Exception:
            return SEND_QUEUE_BYTES_MAX + 1     # a transport that cannot say takes no more

    cdef bint _can_send(self, size_t n) noexcept:
        # picows drops a message silently once a close was sent, and queues without bound while writing is paused.
        return (self.up and self.transport is not None and not self.transport.is_close_frame_sent
                and not self.transport.is_disconnected
                and (not self.writing_paused or self._queued() + <int64_t>n + HEADER_ROOM <= SEND_QUEUE_BYTES_MAX))

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
        return self._send_checked(frame)

    cdef bint _send_checked(self, bytes frame) except -1:
        """Copy a checked frame out. A public link has no token, so a frame with a place for one is refused."""
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        if TOKEN_PLACE in frame or n > OUT_BYTES_MAX:
            self.refused_count += 1
            return False
        if not self._can_send(<size_t>n):
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
            "backlog_bytes": self.backlog_bytes, "backlog_bytes_max": self.backlog_bytes_max,
            "backlog_ns_max": self.backlog_ns_max, "deferred": self.deferred_count,
            "behind": bool(self.behind), "behind_count": self.behind_count, "pauses": self.pause_count,
            "stalled": bool(self.writing_paused), "stalls": self.stall_count, "queued_bytes": self._queued(),
            "openings_held": self.opening_held_count, "pongs_unsent": self.pong_unsent_count,
        }


cdef class PublicLink(Link):
    """The public market-data socket."""


cdef class FuturesLink(Link):
    """The futures feed's socket. Nothing leaves it but subscriptions, and pings that keep it open; it never has a token."""

    def __cinit__(self, FrameSink core not None, after_batch=None):
        self.code = LINK_FUTURES

    def send_control(self, bytes frame not None):
        """Send a request of the futures feed's own closed list; False when it is refused or there is no connection."""
        if not is_futures_control(frame):
            self.refused_count += 1
            return False
        return self._send_checked(frame)

    def keep_open(self):
        """Send a websocket ping: the venue closes a connection from which nothing comes for 60 s."""
        if self._can_send(0) and self._queued() <= SEND_QUEUE_BYTES_MAX:
            self.transport.send_ping()


cdef class TokenPort(OrderPort):
    """The order port of a private link: the only way an order frame leaves. Made by PrivateLink."""

    cdef int make_durable(self) noexcept:
        """Wait until the journal is on disk, for `durable_wait_ns` at most. Returns 0, or -1: it is not known to be.

        After a failure nobody waits again before the disk has caught up with what it had not taken then.
        """
        cdef int error
        cdef int64_t began_ns, took_ns
        if self.not_durable():
            self.unsynced_count += 1
            return -1
        if self.journal is None:
            return -1
        began_ns = _now_ns(CLOCK_MONOTONIC)
        error = self.journal.sync_within(self.durable_wait_ns)
        took_ns = _now_ns(CLOCK_MONOTONIC) - began_ns
        self.durable_count += 1
        self.durable_ns += took_ns
        self.durable_ns_max = max(self.durable_ns_max, took_ns)
        if error == 0:
            return 0
        self.unsynced_count += 1
        self.unsynced_to = self.journal.appended()
        if self.on_unsynced is not None:
            try:
                self.on_unsynced(error)
            except Exception as fault:
                if self.link is not None and self.link.on_fault is not None:
                    self.link.on_fault(fault)
        return -1

    cpdef bint not_durable(self):
        """Tell whether the disk has still not taken what it failed to take in time."""
        if self.unsynced_to and self.journal is not None and self.journal.synced_to(self.unsynced_to):
            self.unsynced_to = 0
        return self.unsynced_to != 0

    def durable_status(self):
        """Return what waiting for the disk has cost so far, and how often it was in vain."""
        return {"syncs": self.durable_count, "ns": self.durable_ns, "longest_ns": self.durable_ns_max,
                "failed": self.unsynced_count}

    cdef int send(self, const char *frame, size_t n, size_t token_at, bint opening) noexcept:
        """Send one order frame with the token inserted at byte `token_at`. Returns 0 when handed over, else -1.

        An opening does not queue behind a peer that does not read: it would arrive late, and before the next cancel.
        """
        if opening and self.link is not None and self.link.writing_paused:
            self.link.opening_held_count += 1
            self.refused_count += 1
            return -1
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
        transport.underlying_transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, PRIVATE_SEND_BUFFER_BYTES)
        Link.on_ws_connected(self, transport)

    cpdef on_ws_disconnected(self, WSTransport transport):
        if transport is not self.transport:
            return
        self.port.up = False
        memset(self.token, 0, TOKEN_BYTES_MAX)
        self.token_n = 0
        Link.on_ws_disconnected(self, transport)

    cdef bint _send_checked(self, bytes frame) except -1:
        """Copy a checked control frame out, with the token where it leaves room for it."""
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        cdef Py_ssize_t place = frame.find(TOKEN_PLACE)
        if place < 0:
            return Link._send_checked(self, frame)
        if self._send_with_token(PyBytes_AS_STRING(frame), <size_t>n, <size_t>(place + TOKEN_OFFSET)) != 0:
            return False
        self.control_count += 1
        return True

    cdef int _send_with_token(self, const char *frame, size_t n, size_t token_at) noexcept:
        cdef char *payload = self.out + HEADER_ROOM
        if self.token_n == 0 or token_at > n or n > OUT_BYTES_MAX - self.token_n or not self._can_send(n):
            self.unsent_count += 1
            return -1
        memcpy(payload, frame, token_at)
        memcpy(payload + token_at, self.token, self.token_n)
        memcpy(payload + token_at + self.token_n, frame + token_at, n - token_at)
        return self._send_out(n + self.token_n)
