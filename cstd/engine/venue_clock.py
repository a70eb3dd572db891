"""How far the host's wall clock is from the venue's, as far as one exchange of messages proves it."""

from __future__ import annotations

from cstd._fast.core import Core


def begin(core: Core, mono_ns: int, wall_ns: int) -> None:
    """Take the clock as it is at a start: a step from here on is seen at once, before the venue has said anything."""
    core.clock_offset_ns = 0
    core.clock_base_ns = wall_ns - mono_ns
    core.clock_known = True


def learn(core: Core, bounds_ns: tuple[int, int] | None, mono_ns: int, wall_ns: int) -> None:
    """Take what a reply proves.

    Args:
        core: gets the offset, positive where the host's clock is ahead, and the base that steps are counted from.
        bounds_ns: monotonic time of the request less the venue's time when it came in, and monotonic time of the reply less
            the venue's time when it went out. The host's clock is between the two from the venue's, once its own distance
            from the monotonic one is added. None: the venue has not said its time.
        mono_ns, wall_ns: of the reply.

    The least offset that agrees with both is taken: a slow way there or back proves nothing.
    """
    if bounds_ns is None:
        return
    base_ns = wall_ns - mono_ns
    least_ns, most_ns = bounds_ns[0] + base_ns, bounds_ns[1] + base_ns
    core.clock_offset_ns = max(least_ns, 0) or min(most_ns, 0)
    core.clock_base_ns = base_ns
