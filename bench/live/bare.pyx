# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The lower bound: a picows listener in Cython that does nothing with a frame but count it, or answer it.

`Answer` sends a constant payload of an order's size on a second connection for each text frame on the first, as the daemon
does with its public and private sockets. Connections, buffers and the loop are set up as the daemon's links are.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

cdef enum:
    HEADER_ROOM = 16
    TAIL_ROOM = 64


cdef class Count(WSListener):
    """Count text frames and their bytes."""

    cdef readonly int64_t frame_count
    cdef readonly int64_t byte_count

    cpdef on_ws_connected(self, WSTransport transport):
        pass

    cpdef on_ws_disconnected(self, WSTransport transport):
        pass

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type == WSMsgType.TEXT:
            self.frame_count += 1
            self.byte_count += frame.payload_size
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())


cdef class Out(WSListener):
    """The connection that answers leave by."""

    cdef WSTransport transport

    cpdef on_ws_connected(self, WSTransport transport):
        self.transport = transport

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.transport = None

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        pass


cdef class Answer(WSListener):
    """Answer each text frame by a constant payload on `out`."""

    cdef Out out
    cdef char *buffer
    cdef bytes payload

    def __cinit__(self, Out out not None, bytes payload not None):
        self.out = out
        self.payload = payload
        self.buffer = <char *>malloc(HEADER_ROOM + PyBytes_GET_SIZE(payload) + TAIL_ROOM)
        if self.buffer == NULL:
            raise MemoryError("answer buffer")

    def __dealloc__(self):
        free(self.buffer)

    cpdef on_ws_connected(self, WSTransport transport):
        pass

    cpdef on_ws_disconnected(self, WSTransport transport):
        pass

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type != WSMsgType.TEXT or self.out.transport is None:
            return
        # Written anew each time: the mask of the last frame scrambled it.
        memcpy(self.buffer + HEADER_ROOM, PyBytes_AS_STRING(self.payload), PyBytes_GET_SIZE(self.payload))
        self.out.transport.send_reuse_external_buffer(WSMsgType.TEXT, self.buffer + HEADER_ROOM,
                                                      PyBytes_GET_SIZE(self.payload), True, False, False, False)
