"""Attempts and requests stay inside what the venue allows, and a mode reaches its own addresses only."""

from __future__ import annotations

import pytest

from cstd.errors import ConfigError
from cstd.venue.backoff import AttemptLimiter, ReconnectPolicy, RetryDelays, TokenBucket
from cstd.venue.endpoints import KRAKEN, endpoints_for

S = 10**9


def test_bucket_holds_rate_and_burst() -> None:
    """In any stretch of time no more than burst + rate × time leave; a clock that stands still gives nothing."""
    bucket = TokenBucket(rate_per_s=20, burst=10)
    sent = [now for now in range(0, 3 * S, S // 1000) if bucket.take(now)]
    assert len(sent) == 10 + 20 * 3 - 1
    assert len([now for now in sent if now < S]) == 29
    assert not any(bucket.take(sent[-1]) for _ in range(5))


def test_retry_delays_grow_and_rest() -> None:
    """0, 1, 2 ... 60 s, over again after a healthy minute."""
    delays = RetryDelays()
    now_ns = 0
    waits = []
    for _ in range(9):
        at_ns = delays.fail(now_ns)
        waits.append((at_ns - now_ns) // S)
        now_ns = at_ns + S
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delays.fail(now_ns + 60 * S) == now_ns + 60 * S
    assert RetryDelays().fail(0, at_once=False) == S


def test_reconnects_follow_the_table_with_jitter() -> None:
    """Each delay is within 30 % of 0, 1, 2, 5, 10, 20, 30, 30 s; equal seeds repeat, others differ."""
    def waits(seed: int) -> list[int]:
        policy = ReconnectPolicy(seed, AttemptLimiter())
        row = []
        for _ in range(8):
            policy.on_down(0)
            row.append(policy.next_ns(0))
        return row

    for wait, expected_s in zip(waits(1), (0, 1, 2, 5, 10, 20, 30, 30), strict=True):
        assert expected_s * S * 7 // 10 <= wait <= expected_s * S * 13 // 10
    assert waits(1) == waits(1) != waits(2)
    assert waits(0x9E3779B97F4A7C15)


def test_reconnects_start_over_after_a_healthy_minute() -> None:
    """A connection that stood for 60 s clears the failures, one that stood for less does not."""
    policy = ReconnectPolicy(7, AttemptLimiter())
    for _ in range(5):
        policy.on_down(0)
    policy.on_up(0)
    policy.on_down(60 * S - 1)
    assert policy.failure_count == 6
    policy.on_up(0)
    policy.on_down(60 * S)
    assert policy.failure_count == 1
    assert policy.next_ns(60 * S) == 60 * S
    assert policy.next_ns(0, maintenance=True) >= 5 * S


def test_attempts_are_limited_over_all_sockets() -> None:
    """The 101st attempt within ten minutes waits until the first is ten minutes old."""
    limiter = AttemptLimiter()
    policies = [ReconnectPolicy(seed, limiter) for seed in (1, 2)]
    for attempt in range(100):
        policies[attempt % 2].record(attempt * S)
    assert policies[0].next_ns(100 * S) == 600 * S
    assert limiter.next_ns(600 * S) == 600 * S


PRACTICE = {"rest": "http://127.0.0.1:1", "ws_public": "ws://127.0.0.1:2/v2", "ws_private": "ws://[::1]:3/v2",
            "ws_futures": "ws://127.0.0.9:4", "api_key": "k", "api_secret": "s"}


def test_modes_fix_their_addresses() -> None:
    """Paper and live are Kraken over TLS; practice is what it wrote, on loopback."""
    assert endpoints_for("live") is endpoints_for("paper") is KRAKEN
    assert all(url.startswith(("https://", "wss://")) for url in (KRAKEN.rest, KRAKEN.ws_public, KRAKEN.ws_private))
    assert endpoints_for("practice", PRACTICE).ws_private == "ws://[::1]:3/v2"


@pytest.mark.parametrize(("mode", "practice"), [
    ("live", PRACTICE),
    ("paper", PRACTICE),
    ("practice", None),
    ("shadow", None),
    ("practice", PRACTICE | {"rest": "http://10.0.0.1:1"}),
    ("practice", PRACTICE | {"rest": "http://localhost:1"}),
    ("practice", PRACTICE | {"rest": "https://api.kraken.com"}),
    ("practice", PRACTICE | {"ws_public": "ws://ws.kraken.com:443/v2"}),
    ("practice", PRACTICE | {"ws_public": "ws://127.0.0.1@evil.example:1/v2"}),
    ("practice", PRACTICE | {"ws_public": "ws://127.0.0.1:notaport/v2"}),
    ("practice", PRACTICE | {"ws_public": "ws://127.0.0.1"}),
    ("practice", {key: value for key, value in PRACTICE.items() if key != "ws_private"}),
])
def test_other_addresses_are_refused(mode: str, practice: dict[str, str] | None) -> None:
    """No configuration points a mode at another host."""
    with pytest.raises(ConfigError):
        endpoints_for(mode, practice)
