"""PaperVenue: the simulated venue in Kraken's place, in mode paper, driven by the clock and by the live market.

Public data come from Kraken as in live. What would go to Kraken's private side goes here instead, in this process: order
frames and control frames of the private link, and private REST calls. Answers come back when they are due, as frames of the
private link and bodies of replies, so engine, journal and replay see what they see in live.

Two clocks: ours, and the matching engine's, which is `feed_ns` ahead of what was received. What arrives there at a time is
judged once the market of that time is here, `feed_ns` later; its answer is due `order_back_ns` after it, which is no sooner.
The books are the engine's as they are when the first order leaves, and follow every frame while anything is out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from cstd._fast.codes import BookState
from cstd.clock import Clock
from cstd.config import Config
from cstd.config.schema import SimulatedVenueConfig
from cstd.daemon.paper_account import PaperAccount
from cstd.engine import Engine
from cstd.errors import InvariantError, OperatorError, VerificationError
from cstd.orders.simulated_frames import status_frame
from cstd.orders.simulated_rest import SimulatedRest
from cstd.orders.simulated_terms import FEE_TIERS, SimulatedVenueSettings
from cstd.orders.simulated_venue import SimulatedVenue
from cstd.storage.run_dir import PAPER_FILE
from cstd.units import INT64_MAX, NS_PER_S
from cstd.venue.http import HttpClient, HttpReply
from cstd.venue.paper_link import PaperLink, PublicTap
from cstd.venue.rate import TRADING_TIERS
from cstd.venue.rest.request import RestRequest

RECONNECT_S = 1.0


def settings_of(cfg: Config) -> SimulatedVenueSettings:
    """Return the venue's settings as the configuration has them; the rate threshold is the tier's."""
    told = msgspec.structs.asdict(cfg.simulated_venue or SimulatedVenueConfig())
    tiers = tuple((row[0], row[1], row[2]) for row in told.pop("fee_tiers")) or FEE_TIERS
    return SimulatedVenueSettings(**told, fee_tiers=tiers, rate_count_max=TRADING_TIERS[cfg.venue.tier].threshold)


class PaperVenue:
    """The venue of one daemon.

    Args:
        engine: recovered, so its books of account are what the journal knows.
        cfg: of mode paper.
        state_dir: where the simulated account is kept, beside the journal.
        clock: the process's clock; the wall's time is the venue's.
        on_fault: gets what must not happen. The link goes down with it and stays down.

    Attributes:
        link: stands for the private socket. tap: stands before the engine for public frames.

    Raises:
        VerificationError: the journal has fills that the simulated account has not: they are of two sessions.
        OperatorError: the account's file cannot be read or written.
    """

    def __init__(self, engine: Engine, cfg: Config, state_dir: Path, clock: Clock,
                 on_fault: Callable[[Exception], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._on_fault = on_fault
        self._account = PaperAccount(state_dir / PAPER_FILE)
        self._depth = cfg.instruments.depth
        self._settings = settings_of(cfg)
        history = self._account.history
        missing = [exec_id for exec_id in engine.ledger.fills if exec_id not in history.fills]
        if missing:
            raise VerificationError(
                f"the journal has {len(missing)} fills that the simulated account in {state_dir / PAPER_FILE} has not",
                suggestion="they belong together: bring both back from one backup, or begin anew with another --run-dir")
        self._account.open()
        self.venue = SimulatedVenue(self._settings, {cfg.account.currency: cfg.account.capital}, history=history,
                                    now_ns=clock.wall_ns())
        for spec in list(history.specs.values()):
            self.venue.add_instrument(spec, self._depth)
        self.venue.step(clock.wall_ns() - self._settings.feed_ns)
        try:
            self._keep()
        except OSError as error:
            raise OperatorError(f"the simulated account in {state_dir} cannot be written: {error}") from error
        self._rest = SimulatedRest(history, self.venue)
        self._timer: asyncio.TimerHandle | None = None
        self.broken = ""
        self.tap = PublicTap(engine.core)
        self.tap.on_frames, self.tap.on_fault = self._on_frames, self._break
        self.tap.wanted = not self.venue.idle
        self.link: PaperLink | None = None

    @property
    def latency_s(self) -> float:
        """How long a call by REST takes."""
        now_ns = self._clock.wall_ns()
        return (self._settings.out_ns(now_ns) + self._settings.back_ns(now_ns)) / NS_PER_S

    # The private link.

    def make_link(self, after_batch: Callable[[], None]) -> PaperLink:
        """Return the link that stands for the private socket."""
        self.link = PaperLink(self._engine.core, after_batch)
        self.link.on_sent = self._on_sent
        return self.link

    def connect(self) -> None:
        """A private session begins; the venue says first that it is online."""
        if self.link is not None and not self.broken:
            self.venue.hang_up()
            self.link.connect()
            self.link.receive([status_frame(self._clock.wall_ns())])
            self._settle()

    def hang_up(self) -> None:
        """The private session has ended."""
        self.venue.hang_up()

    def _on_sent(self, wall_ns: int, frame: bytes) -> None:
        """A frame leaves, from within the engine: it is noted, and everything else waits for its time."""
        self._load_books()
        self.venue.send(wall_ns, frame)
        try:
            # The file outlives this process; to wait for the disk here would hold up the engine.
            self._keep(on_disk=False)
        except OSError as error:
            self._break(error)
            raise
        self.tap.wanted = True
        self._plan()

    def _load_books(self) -> None:
        """Take the engine's books as they are now: all of them where the market was not followed, else what is missing."""
        following = self.tap.wanted
        for slot, name in zip(self._engine.core.slots, self._engine.names, strict=True):
            spec, book = self._engine.feed.specs.get(name), slot.book
            if spec is None or (following and self.venue.knows(name)):
                continue
            self.venue.add_instrument(spec, self._depth)
            bids, asks = ([(price_raw, qty_raw) for price_raw, qty_raw, _ in book.levels(side, book.depth)] for side in (1, -1))
            self.venue.load_book(name, bids, asks, verified=book.state == BookState.BOOK_VERIFIED)

    # The market.

    def _on_frames(self, frames: list[tuple[int, bytes]]) -> None:
        """Public frames that the engine has; whatever arrived at the venue before them is judged before them."""
        for wall_ns, frame in frames:
            arose_ns = wall_ns - self._settings.feed_ns
            self.venue.step(arose_ns - 1)
            self.venue.market(arose_ns, frame)
        self._settle()

    def lose_market(self) -> None:
        """The public link is down: nothing fills before its next snapshots."""
        self.venue.lose_books()

    # Private REST.

    def answer(self, request: RestRequest) -> HttpReply:
        """Return the reply to a private call, from the simulated account's own books."""
        if self.broken:
            return HttpReply(0, b"", self.broken)
        now_ns = self._clock.wall_ns()
        try:
            self.venue.step(now_ns - self._settings.feed_ns)
            body = self._rest.answer(request.method, dict(request.params), now_ns)
            self._settle()
        except Exception as error:  # noqa: BLE001 -- as in `_work`
            self._break(error)
            return HttpReply(0, b"", self.broken)
        return HttpReply(0, b"", self.broken) if self.broken else HttpReply(200, body)

    # Time.

    def _work(self) -> None:
        """Something is due."""
        self._timer = None
        try:
            self.venue.step(self._clock.wall_ns() - self._settings.feed_ns)
            self._settle()
        except Exception as error:  # noqa: BLE001 -- whatever it is: no answer may be made up, and the engine must know
            self._break(error)

    def _settle(self) -> None:
        """Keep what has changed, then deliver what is due, then wait for what is next."""
        if self.broken:
            return
        try:
            self._keep()
        except OSError as error:
            self._break(error)
            return
        due = [frame for _, frame in self.venue.take_replies(self._clock.wall_ns())]
        if due and self.link is not None and self.link.up:
            self.link.receive(due)
        if self.venue.idle:
            self.tap.wanted = False
        self._plan()

    def _keep(self, *, on_disk: bool = True) -> None:
        if records := self._account.history.take():
            self._account.keep(records, on_disk=on_disk)

    def _plan(self) -> None:
        """Come back when the next thing is due here: an answer, or what the venue does once its market is known."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = self.venue.next_due_ns
        due_ns = min(due_ns + self._settings.feed_ns if due_ns < INT64_MAX else INT64_MAX, self.venue.next_reply_ns)
        if due_ns < INT64_MAX and not self.broken:
            wait_s = max(0, due_ns - self._clock.wall_ns()) / NS_PER_S
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._work)

    def _break(self, error: Exception) -> None:
        """Nothing is answered any more, and nothing is made up."""
        if self.broken:
            return
        self.broken = f"the simulated venue has failed: {type(error).__name__}: {error}"
        self.tap.wanted = False
        self._on_fault(error)
        # Not from within a send, which may be the engine's own.
        asyncio.get_running_loop().call_soon(self._take_down)

    def _take_down(self) -> None:
        if self.link is not None:
            self.link.close(self.broken)

    def close(self) -> None:
        """Nothing more happens; what is open stays open on record, and the dead man's switch goes on."""
        if self._timer is not None:
            self._timer.cancel()
        self.broken = self.broken or "stopped"
        self._account.close()


class PaperConnector:
    """Keeps the private link of paper up; the same face as `cstd.venue.connector.Connector`.

    Args:
        paper: whose link it is. on_up, on_down: called as a connector does.
    """

    def __init__(self, paper: PaperVenue, link: PaperLink, *, on_up: Callable[[PaperLink], None],
                 on_down: Callable[[PaperLink, str], None]) -> None:
        self.link = link
        self.attempt_count = 0
        self._paper = paper
        self._on_down = on_down
        self._again: asyncio.TimerHandle | None = None
        self._running = False
        link.on_up = on_up
        link.on_down = self._downed

    def start(self) -> None:
        """Come up, on the running loop."""
        self._running = True
        self._connect()

    def _connect(self) -> None:
        self._again = None
        self.attempt_count += 1
        self._paper.connect()

    def _downed(self, link: PaperLink, reason: str) -> None:
        self._paper.hang_up()
        self._on_down(link, reason)
        if self._running and not self._paper.broken:
            self._again = asyncio.get_running_loop().call_later(RECONNECT_S, self._connect)

    async def stop(self, reason: str = "stopping") -> None:
        """Go down and stay down."""
        self._running = False
        if self._again is not None:
            self._again.cancel()
        self.link.close(reason)

    def send_control(self, frame: bytes) -> bool:
        """Send a control frame; False when it is refused or the link is down."""
        return self.link.send_control(frame)

    def close(self, reason: str) -> None:
        """End the present session; the next one follows."""
        self.link.close(reason)


class PaperHttp(HttpClient):
    """REST of mode paper: public calls go to Kraken without a key, private ones to the simulated account."""

    def __init__(self, base_url: str, paper: PaperVenue, *, clock: Clock) -> None:
        super().__init__(base_url, clock=clock)
        self._paper = paper

    async def call(self, request: RestRequest, timeout_ns: int) -> HttpReply:
        """Make one call, or have it answered here.

        Raises:
            InvariantError: the request would change orders and the gateway did not make it.
        """
        if not request.private:
            return await super().call(request, timeout_ns)
        if request.is_order and not request.made_by_gateway:
            self.refused_count += 1
            raise InvariantError(f"REST {request.method} was built outside the gateway")
        self.call_count += 1
        await asyncio.sleep(self._paper.latency_s)
        return self._paper.answer(request)
