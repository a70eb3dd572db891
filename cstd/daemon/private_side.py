"""Where the private side of the venue is: behind a key and a socket, or, in mode paper, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cstd._fast.sink import FrameSink
from cstd.clock import Clock
from cstd.config import Config, Credentials
from cstd.daemon.key_check import checked_key
from cstd.daemon.paper import PaperConnector, PaperHttp, PaperVenue
from cstd.engine import Engine
from cstd.storage.run_dir import JOURNAL_DIR, NONCE_FILE
from cstd.venue.backoff import ReconnectPolicy
from cstd.venue.connector import Connector
from cstd.venue.http import Credentials as ApiKey
from cstd.venue.http import HttpClient
from cstd.venue.link import PrivateLink
from cstd.venue.nonce import NonceFile
from cstd.venue.paper_link import PaperLink

OnUp = Callable[[Any], None]
OnDown = Callable[[Any, str], None]
OnFailure = Callable[[str, int], None]


class KeyedSide:
    """Kraken's private side, or the practice exchange's.

    Attributes:
        http: REST, public and private. public_sink: where frames of the public link go.
    """

    def __init__(self, run_dir: Path, credentials: Credentials, engine: Engine, clock: Clock) -> None:
        self.http = HttpClient(
            credentials.endpoints.rest, clock=clock, credentials=ApiKey(credentials.api_key, credentials.api_secret),
            nonces=NonceFile(run_dir / NONCE_FILE))
        self.public_sink: FrameSink = engine.core
        self._url = credentials.endpoints.ws_private
        self._engine = engine
        self._clock = clock

    async def check_key(self, log: Any) -> None:
        """Ask what the key may do. Raises ConfigError: too much, or too little."""
        await checked_key(self.http, log)

    def make_link(self, after_batch: Callable[[], None]) -> PrivateLink:
        """Return the link of the private socket."""
        return PrivateLink(self._engine.core, after_batch)

    def connector(self, link: PrivateLink, policy: ReconnectPolicy, *, on_up: OnUp, on_down: OnDown,
                  on_failure: OnFailure) -> Connector:
        """Return what keeps it connected."""
        return Connector(link, self._url, policy=policy, clock=self._clock, on_up=on_up, on_down=on_down, on_failure=on_failure,
                         fetch_token=self.http.fetch_token, in_maintenance=lambda: self._engine.private.system == "maintenance")

    def lose_market(self) -> None:
        """The public link is down: the venue's own affair."""

    def close(self) -> None:
        """Nothing is kept here."""


class PaperSide:
    """The simulated venue: the same face as a KeyedSide, and no key."""

    def __init__(self, cfg: Config, run_dir: Path, credentials: Credentials, engine: Engine, clock: Clock,
                 on_fault: Callable[[Exception], None]) -> None:
        self.paper = PaperVenue(engine, cfg, (run_dir / JOURNAL_DIR).resolve().parent, clock, on_fault)
        self.http = PaperHttp(credentials.endpoints.rest, self.paper, clock=clock)
        self.public_sink: FrameSink = self.paper.tap

    async def check_key(self, log: Any) -> None:
        """There is none."""

    def make_link(self, after_batch: Callable[[], None]) -> PrivateLink:
        """Return the link that stands for the private socket."""
        return self.paper.make_link(after_batch)

    def connector(self, link: PrivateLink, policy: ReconnectPolicy, *, on_up: OnUp, on_down: OnDown,
                  on_failure: OnFailure) -> PaperConnector:
        """Return what keeps it up."""
        assert isinstance(link, PaperLink)
        return PaperConnector(self.paper, link, on_up=on_up, on_down=on_down)

    def lose_market(self) -> None:
        """Nothing fills before the next snapshots."""
        self.paper.lose_market()

    def close(self) -> None:
        """Close the account's file."""
        self.paper.close()


def private_side(cfg: Config, run_dir: Path, credentials: Credentials, engine: Engine, clock: Clock,
                 on_fault: Callable[[Exception], None]) -> KeyedSide | PaperSide:
    """Return the private side of a mode.

    Raises:
        VerificationError, OperatorError: mode paper has an account that does not fit the journal, or none that can be used.
    """
    if cfg.mode == "paper":
        return PaperSide(cfg, run_dir, credentials, engine, clock, on_fault)
    return KeyedSide(run_dir, credentials, engine, clock)
