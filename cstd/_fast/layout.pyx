"""Sentinels and scales of the compiled layout, for Python (the structs are in csrc/layout.h)."""

no_bid = NO_BID
no_ask = NO_ASK
money_scale = MONEY_SCALE

cdef extern from "check.h" nogil:
    enum:
        CSTD_CHECKED

# Whether this is the checked build (CSTD_DEBUG=1): sanitizers, and invariants that end the process when they are broken.
checked_build = bool(CSTD_CHECKED)
