"""`cstd doctor --venue`: how far the host's clock is from the venue's, and how long a round trip takes.

The venue tells its time in whole seconds. A reply proves that the venue's clock was within that second at some moment
between the request and the reply; the next request is timed so that the second would turn in the middle of what is left.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from cstd.cli.host_checks import OK, PROBLEM, WARNING, Check, Surroundings
from cstd.clock import Clock, SystemClock
from cstd.config import Endpoints, load_credentials
from cstd.config.credentials import KRAKEN
from cstd.errors import ConfigError
from cstd.units import NS_PER_MS, NS_PER_S
from cstd.venue.http import HttpClient
from cstd.venue.rest.models import parse_time
from cstd.venue.rest.request import server_time

# Each halves what is left of the second: seven leave 8 ms and a round trip.
ASKED = 7
TIMEOUT_NS = 5 * NS_PER_S
PAUSE_NS = NS_PER_S // 2  # at least, between two questions: the public calls have their own limit


@dataclass(frozen=True, slots=True)
class Answered:
    """One question and its answer: the venue's second, and this host's wall clock before and after."""

    asked_ns: int
    answered_ns: int
    second_ns: int


class ClockBounds:
    """What the answers prove of the venue's clock less this host's."""

    def __init__(self) -> None:
        self.least_ns: int | None = None
        self.most_ns: int | None = None

    def learn(self, one: Answered) -> None:
        """Take an answer; one that contradicts the others (a clock was stepped) starts anew."""
        least_ns, most_ns = one.second_ns - one.answered_ns, one.second_ns + NS_PER_S - one.asked_ns
        if self.least_ns is None or self.most_ns is None or least_ns > self.most_ns or most_ns < self.least_ns:
            self.least_ns, self.most_ns = least_ns, most_ns
            return
        self.least_ns, self.most_ns = max(self.least_ns, least_ns), min(self.most_ns, most_ns)

    def next_ask_ns(self, wall_ns: int, round_trip_ns: int) -> int:
        """Return the host's time of the next question: its middle is where the venue's second would turn, if the venue's
        clock were in the middle of what is left."""
        if self.least_ns is None or self.most_ns is None:
            return wall_ns
        middle_ns = (self.least_ns + self.most_ns) // 2
        earliest_ns = wall_ns + PAUSE_NS + round_trip_ns // 2
        turn_ns = -(-(earliest_ns + middle_ns) // NS_PER_S) * NS_PER_S - middle_ns
        return turn_ns - round_trip_ns // 2


def venue(on: Surroundings) -> list[Check]:
    """Return what the venue's time says of ours, and what a round trip takes."""
    try:
        where = KRAKEN if on.is_real else load_credentials(on.cfg.mode, on.run_dir, on.environ).endpoints
    except ConfigError as error:
        return [Check("venue", PROBLEM, error.message, "there is nobody to ask", error.suggestion)]
    answers, bounds, trouble = asyncio.run(_ask(where, SystemClock()))
    if not answers:
        return [Check("venue", PROBLEM, f"{where.rest}: {trouble}", "the daemon could not connect either",
                      "the network, the name service, a firewall; SSL_CERT_FILE where a proxy has its own authority")]
    return [_offset(bounds, on), _round_trip(where, answers, trouble)]


def _offset(bounds: ClockBounds, on: Surroundings) -> Check:
    assert bounds.least_ns is not None and bounds.most_ns is not None
    limit_ns = on.cfg.risk.clock_offset_ms_max * NS_PER_MS
    found = (f"the venue's clock is between {bounds.least_ns / NS_PER_MS:+.1f} and {bounds.most_ns / NS_PER_MS:+.1f} ms from "
             "this host's")
    means = f"beyond risk.clock_offset_ms_max = {on.cfg.risk.clock_offset_ms_max} ms nothing opens"
    least_ns = max(bounds.least_ns, 0) or min(bounds.most_ns, 0)
    if abs(least_ns) > limit_ns:
        return Check("venue clock", PROBLEM, found, means, "keep the host's clock: chrony, systemd-timesyncd or a PTP client")
    if max(abs(bounds.least_ns), abs(bounds.most_ns)) > limit_ns:
        return Check("venue clock", WARNING, found, f"{means}; the answers do not show that it is within",
                     "ask again; a slow way there or back proves little")
    return Check("venue clock", OK, found, means)


def _round_trip(where: Endpoints, answers: list[Answered], trouble: str) -> Check:
    took = sorted(one.answered_ns - one.asked_ns for one in answers[1:] or answers)  # the first made the connection
    found = f"{where.rest}: {took[0] / NS_PER_MS:.1f} to {took[-1] / NS_PER_MS:.1f} ms in {len(took)} calls"
    if trouble:
        return Check("venue", WARNING, f"{found}; then: {trouble}", "some calls were not answered", "ask again")
    return Check("venue", OK, found, "REST, over a connection that is kept; orders go by websocket")


async def _ask(where: Endpoints, clock: Clock) -> tuple[list[Answered], ClockBounds, str]:
    """Ask for the time; returns the answers, what they prove, and why it ended before its time, "" if it did not."""
    http = HttpClient(where.rest, clock=clock)
    answers: list[Answered] = []
    bounds, trouble = ClockBounds(), ""
    try:
        for number in range(ASKED + 1):
            if number > 1:  # the first makes the connection, and its round trip is no measure
                round_trip_ns = answers[-1].answered_ns - answers[-1].asked_ns
                at_ns = bounds.next_ask_ns(clock.wall_ns(), round_trip_ns)
                await asyncio.sleep(max(0, at_ns - clock.wall_ns()) / NS_PER_S)
            asked_ns = clock.wall_ns()
            reply = await http.call(server_time(), TIMEOUT_NS)
            answered_ns = clock.wall_ns()
            trouble = reply.transport_error or ("" if reply.status == 200 else f"HTTP {reply.status}")
            if trouble:
                break
            answers.append(Answered(asked_ns, answered_ns, _second_ns(reply.body)))
            bounds.learn(answers[-1])
    except ValueError as error:
        trouble = f"not an answer of the venue's: {error}"
    finally:
        await http.close()
    return answers, bounds, trouble


def _second_ns(body: bytes) -> int:
    """Return the venue's time in an answer.

    Raises:
        ValueError: there is none, with the venue's error where it gave one.
    """
    told = json.loads(body)
    if not isinstance(told, dict) or told.get("error"):
        raise ValueError(str(told.get("error") if isinstance(told, dict) else told)[:200])
    return parse_time(told.get("result"))
