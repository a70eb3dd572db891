"""Faults of the venue: what each is, a script of them, and a script made by a seed.

A script is JSON lines, one fault a line: `{"kind": "lost-ack", "at_s": 12.5, "count": 2}`. `at_s` counts from the start of the
exchange, `for_s` is how long a fault lasts, `count` how many frames or calls it takes. docs/practice.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Annotated, ClassVar, Literal

import msgspec

from cstd.errors import UsageError

Server = Literal["ws_public", "ws_private"]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
FAULT_EVERY_S = 6.0  # of a seeded script, on average: most faults are over before the next, some are not


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Something that goes wrong. `at_s`: when, after the start of the exchange."""

    at_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class FrameFault(Fault):
    """The next `count` frames that a websocket server sends. `about`: only those of this channel or reply to this method."""

    server: Server
    about: str = ""
    count: Count = 1


class Drop(FrameFault, tag="drop"):
    """They never arrive."""


class Duplicate(FrameFault, tag="duplicate"):
    """They arrive twice."""


class Reorder(FrameFault, tag="reorder"):
    """They arrive after the frame that follows them."""


class CorruptChecksum(Fault, tag="corrupt-checksum"):
    """The next book frames carry a checksum that is not theirs."""

    server: ClassVar[Server] = "ws_public"
    count: Count = 1


class LostAck(Fault, tag="lost-ack"):
    """Requests of a method are carried out, and their replies never arrive."""

    server: ClassVar[Server] = "ws_private"
    method: str = "add_order"
    count: Count = 1


class Deny(Fault, tag="deny"):
    """Requests of a method are answered by an error: with `executed` they were carried out all the same."""

    server: ClassVar[Server] = "ws_private"
    method: str = "add_order"
    error: str = "EService:Unavailable"
    executed: bool = False
    count: Count = 1


class Delay(Fault, tag="delay"):
    """What a server sends arrives `by_s` later, in order."""

    server: Server
    by_s: Seconds
    for_s: Seconds


class LateFill(Fault, tag="late-fill"):
    """Reports of executions come `by_s` late; replies, balances and all other reports do not."""

    by_s: Seconds
    for_s: Seconds


class Fragment(Fault, tag="fragment"):
    """Every message comes in so many websocket frames."""

    server: Server
    for_s: Seconds
    pieces: Annotated[int, msgspec.Meta(ge=2, le=64)] = 3


class Cut(Fault, tag="cut"):
    """Connections are dropped without a closing handshake, and for `for_s` none is accepted."""

    server: Server
    for_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


class HalfOpen(Fault, tag="half-open"):
    """Connections stay, and nothing passes either way; then they are dropped."""

    server: Server
    for_s: Seconds


class SlowReader(Fault, tag="slow-reader"):
    """A server does not read what clients send; what it has to say it says."""

    server: Server
    for_s: Seconds


class RestFault(Fault):
    """The next `count` calls by REST. `endpoint`: only of this one, as AddOrder. `executed`: carried out all the same."""

    endpoint: str = ""
    executed: bool = False
    count: Count = 1


class HttpError(RestFault, tag="http-error"):
    """Answered by a status of the web server in front, without JSON."""

    status: Annotated[int, msgspec.Meta(ge=500, le=599)] = 502


class RestTimeout(RestFault, tag="rest-timeout"):
    """Not answered; after `for_s` the connection is dropped."""

    for_s: Seconds = 30.0


class RestError(RestFault, tag="rest-error"):
    """Answered by an error."""

    error: str = "EService:Unavailable"


class RateLimit(RestFault, tag="rate-limit"):
    """Refused because of too many calls."""

    error: str = "EAPI:Rate limit exceeded"


class NonceError(RestFault, tag="nonce-error"):
    """Refused because of the nonce, which is not used up."""

    error: str = "EAPI:Invalid nonce"


class TokenExpiry(Fault, tag="token-expiry"):
    """Every websocket token becomes invalid; open connections stay."""


class ClockSkew(Fault, tag="clock-skew"):
    """The account's side of the exchange, its deadlines and its REST server have another time; market data keep theirs."""

    by_s: Annotated[float, msgspec.Meta(ge=-3600, le=3600)]
    for_s: Seconds


class Maintenance(Fault, tag="maintenance"):
    """The exchange leaves *online*, `announced_s` after it has said so; in *maintenance* it accepts no websocket connection."""

    for_s: Seconds
    state: Literal["maintenance", "cancel_only", "post_only"] = "maintenance"
    announced_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


AnyRestFault = HttpError | RestTimeout | RestError | RateLimit | NonceError
AnyFault = (Drop | Duplicate | Reorder | CorruptChecksum | LostAck | Deny | Delay | LateFill | Fragment | Cut | HalfOpen
            | SlowReader | HttpError | RestTimeout | RestError | RateLimit | NonceError | TokenExpiry | ClockSkew | Maintenance)
_DECODER: msgspec.json.Decoder[AnyFault] = msgspec.json.Decoder(AnyFault)


def parse(text: bytes) -> AnyFault:
    """Return one fault.

    Raises:
        ValueError: it is none, with what is wrong in it.
    """
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def read_script(path: Path) -> list[AnyFault]:
    """Return the faults of a script by their time; empty lines and lines that begin with # are left out.

    Raises:
        UsageError: the file cannot be read, or a line of it holds no fault.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"--faults {path}: {error.strerror}") from error
    faults = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith(b"#"):
            try:
                faults.append(parse(line))
            except ValueError as error:
                raise UsageError(f"--faults {path}, line {number}: {error}",
                                 suggestion="docs/practice.md lists the faults and what each takes") from None
    return sorted(faults, key=lambda fault: fault.at_s)


def seeded(seed: int) -> Iterator[AnyFault]:
    """Yield faults without an end; the same seed gives the same ones, at the same times."""
    random = Random(f"faults {seed}")  # noqa: S311 - a seed that repeats is the point
    at_s = 0.0
    while True:
        at_s += random.expovariate(1 / FAULT_EVERY_S)
        yield random.choice(_DRAWN)(random, round(at_s, 3))


def _server(random: Random) -> Server:
    return random.choice(("ws_public", "ws_private"))


def _span_s(random: Random, most_s: float) -> float:
    """Return a time up to `most_s`; short ones are likelier."""
    return round(max(0.05, most_s * random.random() ** 2), 3)


def _about(random: Random) -> tuple[Server, str]:
    """Return a server and what its frames are about; "" is anything."""
    server = _server(random)
    names = ("book", "trade", "instrument", "") if server == "ws_public" else ("executions", "balances", "add_order", "")
    return server, random.choice(names)


def _frame_fault(kind: type[Drop] | type[Duplicate] | type[Reorder]) -> Callable[[Random, float], AnyFault]:
    def draw(random: Random, at_s: float) -> AnyFault:
        server, about = _about(random)
        return kind(at_s=at_s, server=server, about=about, count=random.randint(1, 3))

    return draw


def _draw_rest(random: Random, at_s: float) -> AnyFault:
    executed, count = random.random() < 0.5, random.randint(1, 3)
    chosen = random.choice(("http", "timeout", "error", "rate", "nonce"))
    if chosen == "http":
        return HttpError(at_s=at_s, status=random.choice((502, 503, 520)), executed=executed, count=count)
    if chosen == "timeout":
        return RestTimeout(at_s=at_s, for_s=_span_s(random, 12.0), executed=executed, count=count)
    if chosen == "error":
        return RestError(at_s=at_s, executed=executed, count=count)
    return RateLimit(at_s=at_s, count=count) if chosen == "rate" else NonceError(at_s=at_s, count=count)


_DRAWN: tuple[Callable[[Random, float], AnyFault], ...] = (
    _frame_fault(Drop), _frame_fault(Duplicate), _frame_fault(Reorder), _draw_rest, _draw_rest,
    lambda random, at_s: CorruptChecksum(at_s=at_s, count=random.randint(1, 5)),
    lambda random, at_s: LostAck(at_s=at_s, method=random.choice(("add_order", "cancel_order")), count=random.randint(1, 2)),
    lambda random, at_s: Deny(at_s=at_s, method=random.choice(("add_order", "cancel_order")), executed=random.random() < 0.5),
    lambda random, at_s: Delay(at_s=at_s, server=_server(random), by_s=_span_s(random, 3.0), for_s=_span_s(random, 5.0)),
    lambda random, at_s: LateFill(at_s=at_s, by_s=_span_s(random, 15.0), for_s=_span_s(random, 20.0)),
    lambda random, at_s: Fragment(at_s=at_s, server=_server(random), pieces=random.randint(2, 9), for_s=_span_s(random, 10.0)),
    lambda random, at_s: Cut(at_s=at_s, server=_server(random), for_s=_span_s(random, 8.0)),
    lambda random, at_s: HalfOpen(at_s=at_s, server=_server(random), for_s=_span_s(random, 30.0)),
    lambda random, at_s: SlowReader(at_s=at_s, server=_server(random), for_s=_span_s(random, 15.0)),
    lambda _, at_s: TokenExpiry(at_s=at_s),
    lambda random, at_s: ClockSkew(at_s=at_s, by_s=round(random.uniform(-30, 30), 3), for_s=_span_s(random, 10.0)),
    lambda random, at_s: Maintenance(at_s=at_s, state=random.choice(("maintenance", "cancel_only", "post_only")),
                                     for_s=_span_s(random, 8.0)),
)
