"""Connection attempts are counted across restarts: a crash loop stays below what has the address banned."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cstd.errors import ConfigError
from cstd.venue.attempts import FILE_BYTES_MAX, LEFT_IN_DOUBT, AttemptFile
from cstd.venue.backoff import AttemptLimiter, ReconnectPolicy

S = 10**9
WINDOW_NS = 600 * S
BOOT, OTHER_BOOT = bytes(range(16)), bytes(16)
MAX = AttemptLimiter().attempts_max


class Host:
    """A run directory and the processes that are started in it, one after the other."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "attempts"
        self.problems: list[str] = []

    def start(self, now_ns: int, boot_id: bytes = BOOT) -> AttemptFile:
        """The limiter of a new process."""
        return AttemptFile(self.path, boot_id=boot_id, now_ns=now_ns, on_problem=self.problems.append)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """An empty run directory."""
    return Host(tmp_path)


def made(limiter: AttemptLimiter, now_ns: int, count: int = MAX + 1) -> int:
    """Make as many attempts as are allowed now, `count` at most; returns how many."""
    for number in range(count):
        if limiter.next_ns(now_ns) > now_ns:
            return number
        limiter.record(now_ns)
    return count


def test_a_new_process_counts_the_attempts_of_the_one_before(host: Host) -> None:
    """Attempts of two sockets, a crash, another start: together no more than one process may make."""
    first = host.start(1000 * S)
    policies = [ReconnectPolicy(seed, first) for seed in (1, 2)]
    for number in range(60):
        policies[number % 2].record((1000 + number) * S)
    second = host.start(1061 * S)
    assert made(second, 1061 * S) == MAX - 60
    third = host.start(1062 * S)
    assert third.next_ns(1062 * S) == 1000 * S + WINDOW_NS, "exactly when the oldest is ten minutes old"
    assert made(third, 1000 * S + WINDOW_NS) == 1
    assert not host.problems


def test_a_crash_loop_stays_below_what_bans(host: Host) -> None:
    """Ten starts in five minutes, each with all the attempts that it is allowed: a hundred in any ten minutes."""
    when: list[int] = []
    for start in range(40):
        now_ns = start * 30 * S
        limiter = host.start(now_ns)
        when += [now_ns] * made(limiter, now_ns, 12)
    assert all(sum(at_ns <= other < at_ns + WINDOW_NS for other in when) <= MAX for at_ns in when)
    assert len(when) > MAX


def test_no_step_of_the_wall_clock_frees_or_holds_an_attempt(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the monotonic clock counts: a wall clock a day ahead, or behind, changes nothing."""
    made(host.start(0), 0)
    for wall_s in (0.0, 86_400.0 * 365 * 30, 86_400.0 * 365 * 200):
        monkeypatch.setattr(time, "time_ns", lambda wall_s=wall_s: int(wall_s * S))
        assert host.start(S).next_ns(S) == WINDOW_NS
    assert made(host.start(WINDOW_NS), WINDOW_NS) == MAX


def test_times_to_come_hold_for_ten_minutes_at_most(host: Host) -> None:
    """A clock that began anew without anyone saying so: what was counted counts as of now, and is over when that is."""
    made(host.start(10**9 * S), 10**9 * S)
    limiter = host.start(5 * S)
    assert limiter.next_ns(5 * S) == 5 * S + WINDOW_NS
    assert made(host.start(5 * S + WINDOW_NS), 5 * S + WINDOW_NS) == MAX


@pytest.mark.parametrize("before", [0, 1, 30, MAX])
def test_after_a_start_of_the_host_the_attempts_count_as_of_now(host: Host, before: int) -> None:
    """Nobody knows how long the host was down: all that was made counts, but for what a start needs."""
    made(host.start(10**6 * S), 10**6 * S, before)
    limiter = host.start(S, OTHER_BOOT)
    assert made(limiter, S) == max(MAX - before, LEFT_IN_DOUBT)
    assert host.start(S, OTHER_BOOT).next_ns(S) == S + WINDOW_NS, "and again for the start that follows"
    assert not host.problems


DAMAGED = {
    "empty": b"", "garbage": b"garbage\n", "not text": b"\xff\xfe\x00", "no boot": b"5\n6\n",
    "torn": BOOT.hex().encode() + b"\n12",
    "torn boot": BOOT.hex().encode()[:20], "negative": BOOT.hex().encode() + b"\n-5\n", "too long": b"1\n" * FILE_BYTES_MAX,
    "an endless number": BOOT.hex().encode() + b"\n" + b"9" * 1000 + b"\n",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_taken_for_the_worst_and_said(host: Host, content: bytes) -> None:
    """All but the few attempts of a start count as made just now; after ten minutes, and in the next process, all is as usual."""
    host.path.write_bytes(content)
    limiter = host.start(1000 * S)
    assert len(host.problems) == 1 and "cannot be read" in host.problems[0] and str(host.path) in host.problems[0]
    assert made(limiter, 1000 * S) == LEFT_IN_DOUBT
    assert host.start(1001 * S).next_ns(1001 * S) == 1000 * S + WINDOW_NS
    assert made(host.start(1000 * S + WINDOW_NS), 1000 * S + WINDOW_NS) == MAX
    assert len(host.problems) == 1, "it is whole again"


def test_the_file_is_replaced_whole_and_stays_small(host: Host) -> None:
    """A torn write is never what the next start reads; however many attempts there were, only those that count are kept."""
    limiter = host.start(0)
    for number in range(5 * MAX):
        limiter.record(number * 7 * S)
    assert len(host.path.read_bytes().splitlines()) == MAX + 1
    assert host.path.stat().st_size < FILE_BYTES_MAX and host.path.stat().st_mode & 0o777 == 0o600
    host.path.with_name("attempts.new").write_bytes(b"torn")
    assert made(host.start(5 * MAX * 7 * S), 5 * MAX * 7 * S) == MAX - 85 and not host.problems


def test_a_file_that_cannot_be_written_stops_a_start_and_no_process_that_runs(host: Host) -> None:
    """At the start it would leave a crash loop without bounds; later the attempts count in this process all the same."""
    limiter = host.start(0)
    host.path.with_name("attempts.new").mkdir()
    assert made(limiter, S) == MAX and "cannot be written" in host.problems[0]
    with pytest.raises(ConfigError, match="cannot be written"):
        host.start(2 * S)
