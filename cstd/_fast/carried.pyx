"""What of the compiled state goes from one build to the next: the little that no ledger and no configuration tells again.

Purpose: openings of the last hour, what was decided last on each side, and why a position is being left, as plain numbers.
Gives: `openings`, `decided`. Takes: `add_openings`, `set_decided`, `go_on_leaving`, on a freshly made core.
Owns: nothing. engine.handover is the one caller; whatever else the core knows is heard anew.
"""
from libc.stdint cimport int64_t

from cstd._fast.core cimport Core
from cstd._fast.slot cimport PARENTS_MAX, EventWindow, InstrumentSlot, window_add


cdef list _times(EventWindow *window, int64_t since_ns):
    cdef int64_t i
    return [window.times_ns[i % PARENTS_MAX] for i in range(window.tail, window.head)
            if window.times_ns[i % PARENTS_MAX] > since_ns]


def openings(Core core not None, InstrumentSlot slot, int64_t since_wall_ns):
    """Wall times of openings sent after a time, oldest first: of one instrument, None for what the minute's limit counts."""
    return _times(&core.minute if slot is None else &slot.parents, since_wall_ns)


def add_openings(Core core not None, InstrumentSlot slot, times):
    """Count openings that were sent at these wall times, oldest first."""
    cdef int64_t wall_ns
    for wall_ns in times:
        window_add(&core.minute if slot is None else &slot.parents, wall_ns)


def decided(InstrumentSlot slot not None):
    """((episode, wall time) of the last sell, the same of the last buy): what a repeated decision is known by."""
    return ((slot.last_episode[0], slot.last_episode_ns[0]), (slot.last_episode[1], slot.last_episode_ns[1]))


def set_decided(InstrumentSlot slot not None, rows):
    """Take what `decided` returned."""
    cdef int i
    for i in range(2):
        slot.last_episode[i], slot.last_episode_ns[i] = rows[i]


def go_on_leaving(InstrumentSlot slot not None, int64_t reason):
    """A position was being left for this codes.ExitReason; it is until nothing is left to sell."""
    slot.watch.reason = reason
