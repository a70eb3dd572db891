"""A record of the journal as compiled readers see it."""
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t

@cython.final
cdef class Record:
    cdef readonly uint64_t seq
    cdef readonly int64_t mono_ns
    cdef readonly int64_t wall_ns
    cdef readonly uint16_t kind
    cdef readonly uint16_t tag
    cdef readonly bytes payload
