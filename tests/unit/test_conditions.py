"""The conditions that raise a level by themselves: each threshold at, just under and just over; too few samples say nothing."""

from __future__ import annotations

import msgspec
import pytest

from cstd import config
from cstd.config import Config, template
from cstd.decision.conditions import NAMES, Conditions, Share
from cstd.decision.levels import CRITICAL, NORMAL, WARNING
from cstd.errors import ConfigError

S = 1_000_000_000
MS = 1_000_000
MINUTE = 60 * S


@pytest.fixture(scope="module")
def cfg() -> Config:
    """The shipped live configuration."""
    return config.load([str(template("live"))], {})


@pytest.fixture
def seen(cfg: Config) -> Conditions:
    """Windows with nothing in them."""
    return Conditions(cfg)


@pytest.mark.parametrize(("failed", "level"), [(9, NORMAL), (10, NORMAL), (11, CRITICAL)])
def test_fewer_than_nine_of_ten_calls_ask_for_critical(seen: Conditions, failed: int, level: int) -> None:
    """Of a hundred calls ten may fail; at 90 % nothing is asked for, below it Critical."""
    for at in range(100):
        seen.call(at * S, served=at >= failed)
    assert seen.look(100 * S) == level
    assert seen.asking == (("api_success",) if level else ())


@pytest.mark.parametrize(("late", "took_ms", "level"), [
    (5, 1001, NORMAL), (6, 1001, WARNING), (6, 1000, NORMAL), (100, 1000, NORMAL), (6, 60_000, WARNING)])
def test_acknowledgements_are_late_above_the_limit_at_the_95th_percentile(seen: Conditions, late: int, took_ms: int,
                                                                          level: int) -> None:
    """Five of a hundred may take longer than the limit; the limit itself is not longer."""
    for at in range(100):
        seen.call(at * S, served=True, took_ns=took_ms * MS if at < late else 5 * MS)
    assert seen.look(100 * S) == level


@pytest.mark.parametrize(("unverified", "level"), [(20, NORMAL), (21, WARNING)])
def test_books_that_are_not_verified_ask_for_warning(seen: Conditions, unverified: int, level: int) -> None:
    """Two books for a hundred seconds: twenty of two hundred book-seconds may be unverified."""
    for at in range(100):
        seen.books(at * S, 2 - (at < unverified), 2, 0)
    assert seen.look(100 * S) == level


@pytest.mark.parametrize(("resyncs", "level"), [(1, NORMAL), (2, WARNING)])
def test_resyncs_are_counted_by_the_hour_and_book(seen: Conditions, resyncs: int, level: int) -> None:
    """Twelve an hour and book are one in five minutes; those of before the boot are none of its own."""
    for at in range(300):
        seen.books(at * S, 1, 1, 77 + (at >= 10) + (at >= 20 and resyncs == 2))
    assert seen.look(300 * S) == level


@pytest.mark.parametrize(("errors", "level"), [(1, NORMAL), (2, WARNING)])
def test_order_errors_ask_for_warning(seen: Conditions, errors: int, level: int) -> None:
    """One refused order of a hundred is within the objective, two are not."""
    for at in range(100):
        seen.order(at * S, error=at < errors)
    assert seen.look(100 * S) == level


def test_too_few_samples_say_nothing(seen: Conditions) -> None:
    """Nine failures are less than the least number of samples; the tenth speaks."""
    for at in range(9):
        seen.call(at * S, served=False)
    assert seen.look(9 * S) == NORMAL
    seen.call(9 * S, served=False)
    assert seen.look(9 * S) == CRITICAL


def test_the_highest_that_is_asked_for_holds_and_all_are_named(seen: Conditions) -> None:
    """Critical and Warning at once: Critical, and both names."""
    for at in range(20):
        seen.call(at * S, served=False, took_ns=2 * S)
        seen.order(at * S, error=True)
    assert seen.look(20 * S) == CRITICAL and seen.asking == ("api_success", "ack_latency", "order_errors")


def test_the_window_forgets() -> None:
    """A sample counts until the window has passed it, and the sums follow."""
    share = Share(300 * S)
    share.add(0, 1, 0)
    share.add(1, 1, 200 * S)
    share.forget(300 * S)
    assert (share.good, share.total) == (1, 2)
    share.forget(301 * S)
    assert (share.good, share.total) == (1, 1)
    share.forget(10**15)
    assert (share.good, share.total, share.bps) == (0, 0, None)


def test_a_boot_forgets_what_was_seen_and_keeps_the_names(seen: Conditions, cfg: Config) -> None:
    """Monotonic time may have begun anew."""
    for at in range(20):
        seen.call(at * S, served=False)
    seen.look(20 * S)
    seen.configure(cfg)
    assert seen.look(0) == NORMAL and seen.asking == () and tuple(seen.rows()) == NAMES


def test_the_shipped_clean_time_is_five_minutes_and_no_less_is_taken_but_in_practice(cfg: Config) -> None:
    """Paper and live refuse a shorter one."""
    assert cfg.conditions.clean_s == 300 and msgspec.structs.asdict(cfg.conditions)["window_s"] == 300
    with pytest.raises(ConfigError, match="clean_s"):
        config.load([str(template("live"))], {"CSTD__CONDITIONS__CLEAN_S": "299"})
    assert config.load([str(template("practice"))], {}).conditions.clean_s < 300
