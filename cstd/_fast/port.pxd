"""The seam between the gateway and a link: the only way an order frame leaves the process."""

cdef class OrderPort:
    cdef public bint up
    cdef public bint durable    # an order leaves only after `make_durable`
    cdef int make_durable(self) noexcept
    cdef int send(self, const char *frame, size_t n, size_t token_at, bint opening) noexcept


cdef class KeptPort(OrderPort):
    cdef list frames
