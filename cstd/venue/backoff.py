"""When to try again, how fast to send, when to give a silent peer up. Integer nanoseconds; nothing here reads a clock.

Kraken bans an address after about 150 connection attempts in ten minutes, and drops requests beyond an unpublished rate
with nothing but "Exceeded msg rate". So attempts of all sockets share one limiter, and requests one paced budget.
"""

from __future__ import annotations

from collections import deque

from cstd.units import NS_PER_S

MINUTE_NS = 60 * NS_PER_S


class TokenBucket:
    """At most `rate_per_s` sends a second on average, `burst` at once."""

    __slots__ = ("_burst", "_cost_ns", "_credit_ns", "_filled_ns")

    def __init__(self, *, rate_per_s: int, burst: int) -> None:
        self._cost_ns = NS_PER_S // rate_per_s
        self._burst = burst
        self._credit_ns = burst * self._cost_ns
        self._filled_ns: int | None = None

    def take(self, now_ns: int) -> bool:
        """Take one send if there is one; `now_ns` is monotonic."""
        if self.next_ns(now_ns) > now_ns:
            return False
        self._credit_ns -= self._cost_ns
        return True

    def whole(self, now_ns: int) -> int:
        """Return how many sends `take` would allow at once."""
        self.next_ns(now_ns)
        return self._credit_ns // self._cost_ns

    def next_ns(self, now_ns: int) -> int:
        """Return the earliest time at which `take` succeeds: `now_ns` or later."""
        if self._filled_ns is not None and now_ns > self._filled_ns:
            self._credit_ns = min(self._burst * self._cost_ns, self._credit_ns + now_ns - self._filled_ns)
        if self._filled_ns is None or now_ns > self._filled_ns:
            self._filled_ns = now_ns
        return now_ns + max(0, self._cost_ns - self._credit_ns)


class RetryDelays:
    """Growing delays for one thing that fails: the first retry at once, then 1, 2, 4 ... 60 s.

    The row starts over after `healthy_ns` without a failure.
    """

    __slots__ = ("_failed_ns", "_healthy_ns", "failure_count")

    DELAYS_S = (0, 1, 2, 4, 8, 16, 32, 60)

    def __init__(self, healthy_ns: int = MINUTE_NS) -> None:
        self._healthy_ns = healthy_ns
        self._failed_ns: int | None = None
        self.failure_count = 0

    def fail(self, now_ns: int, *, at_once: bool = True) -> int:
        """Count a failure and return the time before which not to try again; `at_once` False skips the zero delay."""
        rested_ns = self._healthy_ns + self.last_delay_ns
        if self._failed_ns is not None and now_ns - self._failed_ns >= rested_ns:
            self.failure_count = 0
        if self.failure_count == 0 and not at_once:
            self.failure_count = 1
        self._failed_ns = now_ns
        self.failure_count += 1
        return now_ns + self.last_delay_ns

    @property
    def last_delay_ns(self) -> int:
        """Return the delay that followed the newest failure, in ns."""
        if self.failure_count == 0:
            return 0
        return self.DELAYS_S[min(self.failure_count, len(self.DELAYS_S)) - 1] * NS_PER_S


class AttemptLimiter:
    """At most `attempts_max` connection attempts in `window_ns`, shared by all sockets of this address."""

    __slots__ = ("_attempts", "_window_ns", "attempts_max")

    def __init__(self, attempts_max: int = 100, window_ns: int = 10 * MINUTE_NS) -> None:
        self.attempts_max = attempts_max
        self._attempts: deque[int] = deque(maxlen=attempts_max)
        self._window_ns = window_ns

    def next_ns(self, now_ns: int) -> int:
        """Return the earliest time at which an attempt is allowed: `now_ns` or later."""
        while self._attempts and now_ns - self._attempts[0] >= self._window_ns:
            self._attempts.popleft()
        return now_ns if len(self._attempts) < self.attempts_max else self._attempts[0] + self._window_ns

    def record(self, now_ns: int) -> None:
        """Count one attempt made at `now_ns`."""
        self._attempts.append(now_ns)

    def times(self) -> tuple[int, ...]:
        """Return when the attempts were made that count, oldest first; older ones may be among them."""
        return tuple(self._attempts)


class ReconnectPolicy:
    """When to connect next: 0, 1, 2, 5, 10, 20, 30 s ... with ±30 % jitter; starts over after 60 s of health.

    The jitter comes from a seed that is given, so that hosts started together do not reconnect together and a test can
    repeat a run.
    """

    DELAYS_S = (0, 1, 2, 5, 10, 20, 30)
    AFTER_MAINTENANCE_S = 5
    JITTER_PERCENT = 30

    def __init__(self, seed: int, limiter: AttemptLimiter) -> None:
        # An xorshift state must not be zero.
        self._state = (seed ^ 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF or 1
        self._limiter = limiter
        self._failure_count = 0
        self._up_ns: int | None = None

    @property
    def failure_count(self) -> int:
        """Return how many connections failed or ended early in a row."""
        return self._failure_count

    def on_up(self, now_ns: int) -> None:
        """Note that the connection stands."""
        self._up_ns = now_ns

    def on_down(self, now_ns: int) -> None:
        """Note that the connection ended, or that an attempt failed."""
        if self._up_ns is not None and now_ns - self._up_ns >= MINUTE_NS:
            self._failure_count = 0
        self._up_ns = None
        self._failure_count += 1

    def next_ns(self, now_ns: int, *, maintenance: bool = False) -> int:
        """Return when the next attempt may start; call once per attempt, then `record`."""
        index = min(max(self._failure_count - 1, 0), len(self.DELAYS_S) - 1)
        delay_s = max(self.DELAYS_S[index], self.AFTER_MAINTENANCE_S if maintenance else 0)
        jitter_permille = self._draw() % (20 * self.JITTER_PERCENT + 1) - 10 * self.JITTER_PERCENT
        delay_ns = delay_s * NS_PER_S * (1000 + jitter_permille) // 1000
        if maintenance:
            delay_ns = max(delay_ns, self.AFTER_MAINTENANCE_S * NS_PER_S)
        return max(now_ns + delay_ns, self._limiter.next_ns(now_ns))

    def record(self, now_ns: int) -> None:
        """Count an attempt in the shared limiter."""
        self._limiter.record(now_ns)

    def _draw(self) -> int:
        """Return the next 64-bit number of a xorshift generator."""
        state = self._state
        state ^= (state << 13) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= (state << 17) & 0xFFFFFFFFFFFFFFFF
        self._state = state
        return state


class Liveness:
    """Whether the peer still talks: ping after 5 s without any frame, give up after 10 s.

    Heartbeats come once a second, and the largest gap measured between any two frames of a healthy socket was 1.03 s.
    """

    ALIVE_NS = 3 * NS_PER_S
    PING_NS = 5 * NS_PER_S
    CLOSE_NS = 10 * NS_PER_S

    __slots__ = ("_last_frame_ns", "_last_ping_ns")

    def __init__(self) -> None:
        self._last_frame_ns: int | None = None
        self._last_ping_ns: int | None = None

    def start(self, now_ns: int) -> None:
        """Begin with a fresh connection."""
        self._last_frame_ns = now_ns
        self._last_ping_ns = None

    def stop(self) -> None:
        """Forget the connection."""
        self._last_frame_ns = None
        self._last_ping_ns = None

    def seen(self, now_ns: int) -> None:
        """Note that a frame of any kind arrived."""
        if self._last_frame_ns is not None and now_ns > self._last_frame_ns:
            self._last_frame_ns = now_ns
            self._last_ping_ns = None

    def silence_ns(self, now_ns: int) -> int:
        """Return how long nothing has come, in ns; 0 while there is no connection."""
        return 0 if self._last_frame_ns is None else max(0, now_ns - self._last_frame_ns)

    def alive(self, now_ns: int) -> bool:
        """Tell whether any frame came in the last 3 s."""
        return self._last_frame_ns is not None and self.silence_ns(now_ns) <= self.ALIVE_NS

    def ping_due(self, now_ns: int) -> bool:
        """Tell, once per silence, that a ping should go out."""
        if self._last_ping_ns is not None or self.silence_ns(now_ns) < self.PING_NS:
            return False
        self._last_ping_ns = now_ns
        return True

    def dead(self, now_ns: int) -> bool:
        """Tell whether the silence is long enough to close."""
        return self.silence_ns(now_ns) >= self.CLOSE_NS
