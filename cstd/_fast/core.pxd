"""The compiled engine as Python sees it. See core.pyx."""
from cstd._fast.engine cimport FastEngine

cdef enum:
    TIMER_TURN = 64

cdef class Core(FastEngine):
    cdef int timer_next             # where the next tick's turn begins

    cdef void _time_passes(self, int number) noexcept
    cdef void _note_held(self, int number, bint before, bint now) noexcept
