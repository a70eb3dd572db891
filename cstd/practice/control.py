"""The operator's side of the practice exchange: states, deposits, stale tokens, cut connections.

Kraken has none of this; it is what an operator of a venue does to its clients. `POST <rest>/practice/<verb>` with a JSON
body and the API key in the header `API-Key`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation

from aiohttp import web

from cstd.practice.auth import OTHER_RIGHTS, RIGHTS
from cstd.practice.connections import SocketServer, WallClock
from cstd.practice.exchange import SYSTEM_STATES, Exchange
from cstd.practice.faults import parse, seeded
from cstd.practice.market import STATUSES
from cstd.practice.matching import BUY, SELL
from cstd.practice.public_ws import PublicServer
from cstd.practice.switchboard import Switchboard
from cstd.practice.wire import NS_PER_S, dumps, loads

Body = dict[str, object]
REFUSED_S_MAX = 3600
CODE = re.compile("[A-Z0-9]{3,8}")
SIDES = {"buy": BUY, "sell": SELL}


class WrongBodyError(Exception):
    """The body of a control call does not say what the verb needs."""


class Control:
    """Verbs: the keys of `_verbs`, each with what it takes at its method."""

    def __init__(self, exchange: Exchange, clock: WallClock, public: PublicServer, private: SocketServer,
                 switchboard: Switchboard) -> None:
        self.exchange = exchange
        self.clock = clock
        self._public = public
        self._switchboard = switchboard
        self._servers: dict[str, SocketServer] = {"ws_public": public, "ws_private": private}
        self._verbs: dict[str, Callable[[Body], Awaitable[object]]] = {
            "system": self._system,
            "announce": self._announce,
            "status": self._status,
            "deposit": self._deposit,
            "revoke_tokens": self._revoke_tokens,
            "cut": self._cut,
            "refuse": self._refuse,
            "wrong_level": self._wrong_level,
            "wrong_trade": self._wrong_trade,
            "wrong_order": self._wrong_order,
            "rename": self._rename,
            "margin": self._margin,
            "rights": self._rights,
            "open": self._open,
            "fault": self._fault,
            "faults": self._faults,
            "heal": self._heal,
        }

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one control call: 200 with a result, 400 with the reason, 401 without the key, 404 for an unknown verb."""
        if request.headers.get("API-Key") != self.exchange.credentials.api_key:
            return web.json_response({"error": "the API key of practice.json is wanted in the header API-Key"}, status=401)
        verb = self._verbs.get(request.match_info["verb"])
        if verb is None:
            return web.json_response({"error": f"known verbs are {', '.join(sorted(self._verbs))}"}, status=404)
        try:
            body = loads(await request.read() or b"{}")
            if not isinstance(body, dict):
                raise WrongBodyError("the body is no JSON object")
            result = await verb(body)
        except (WrongBodyError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.Response(text=dumps({"result": result}), content_type="application/json")

    async def _system(self, body: Body) -> object:
        """`{"state": "maintenance"}`: change the state of the whole exchange."""
        state = body.get("state")
        if state not in SYSTEM_STATES:
            raise WrongBodyError(f"state is one of {', '.join(SYSTEM_STATES)}")
        self.exchange.set_system(str(state))
        return {"state": state}

    async def _announce(self, body: Body) -> object:
        """`{"entries": [{"from": "2026-…Z", "to": "2026-…Z"}]}`: announce maintenance; entries are told as given."""
        entries = body.get("entries")
        if not isinstance(entries, list):
            raise WrongBodyError("entries is a list")
        self.exchange.announce(entries)
        return {"entries": entries}

    async def _status(self, body: Body) -> object:
        """`{"symbol": "BTC/USD", "status": "cancel_only"}`: change the state of one pair and announce it on `instrument`."""
        market, status = self.exchange.markets.get(str(body.get("symbol"))), body.get("status")
        if market is None or status not in STATUSES:
            raise WrongBodyError(f"symbol is a traded pair, status one of {', '.join(STATUSES)}")
        market.status = str(status)
        self._public.announce_instruments()
        return {"symbol": market.instrument.name, "status": status}

    async def _deposit(self, body: Body) -> object:
        """`{"asset": "USD", "amount": "-50"}`: a deposit, or a withdrawal of what is available."""
        asset = str(body.get("asset"))
        try:
            amount = Decimal(str(body.get("amount")))
        except InvalidOperation:
            amount = Decimal(0)
        if asset not in self.exchange.assets or not amount.is_finite() or amount == 0:
            raise WrongBodyError("asset is a known asset, amount a number other than 0")
        if -amount > self.exchange.account.available(asset):
            raise WrongBodyError("more than is available")
        self.exchange.desk.deposit(asset, amount, self.clock())
        self.exchange.settle()
        return {"asset": asset, "balance": str(self.exchange.account.balances[asset])}

    async def _revoke_tokens(self, body: Body) -> object:
        """Make every websocket token invalid, open connections stay."""
        self.exchange.credentials.revoke_tokens()
        return {}

    async def _cut(self, body: Body) -> object:
        """`{"server": "ws_public"}`: drop every connection of one websocket server, without a closing handshake."""
        return {"cut": self._server(body).cut()}

    async def _refuse(self, body: Body) -> object:
        """`{"server": "ws_private", "seconds": 30}`: the same, and no new connection for so long: HTTP 503."""
        seconds = body.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= REFUSED_S_MAX:
            raise WrongBodyError(f"seconds is a number from 0 to {REFUSED_S_MAX}")
        return {"cut": self._server(body).refuse(int(seconds * NS_PER_S)), "seconds": seconds}

    def _server(self, body: Body) -> SocketServer:
        server = self._servers.get(str(body.get("server")))
        if server is None:
            raise WrongBodyError(f"server is one of {', '.join(self._servers)}")
        return server

    async def _wrong_level(self, body: Body) -> object:
        """`{"symbol": "BTC/USD", "side": "buy", "rank": 15}`: tell book subscribers one level wrong, below every checksum."""
        name, side, rank = str(body.get("symbol")), SIDES.get(str(body.get("side"))), body.get("rank")
        if name not in self.exchange.markets or side is None or not isinstance(rank, int) or isinstance(rank, bool):
            raise WrongBodyError("symbol is a traded pair, side buy or sell, rank a whole number above 10")
        return self._public.tell_wrong(name, side, rank)

    async def _wrong_trade(self, body: Body) -> object:
        """`{"exec_id": "T…"}`: leave an execution out of `TradesHistory`; with `"fee": "0.00001"`: tell its fee so much higher.

        Only what is told: what happened, the ledger and the truth file stay.
        """
        exec_id = str(body.get("exec_id"))
        if all(fill.exec_id != exec_id for fill in self.exchange.account.fills):
            raise WrongBodyError("exec_id is an execution of the account")
        self.exchange.wrong_trades[exec_id] = _excess(body, "fee")
        return {"exec_id": exec_id, "fee": body.get("fee")}

    async def _wrong_order(self, body: Body) -> object:
        """`{"order_id": "O…"}`: leave an order out of the lists of orders; with `"cost": "0.1"`: tell its cost so much higher."""
        order_id = str(body.get("order_id"))
        if order_id not in self.exchange.account.orders:
            raise WrongBodyError("order_id is an order of the account")
        self.exchange.wrong_orders[order_id] = _excess(body, "cost")
        return {"order_id": order_id, "cost": body.get("cost")}

    async def _rename(self, body: Body) -> object:
        """`{"symbol": "BTC/USD", "base": "NBT"}`: another name for a pair and its asset; `"told": false`: without a word."""
        name, code, told = str(body.get("symbol")), body.get("base"), body.get("told", True)
        if name not in self.exchange.markets or not isinstance(code, str) or not CODE.fullmatch(code) \
                or code in self.exchange.assets or not isinstance(told, bool):
            raise WrongBodyError("symbol is a traded pair, base 3 to 8 capitals or digits of no asset, told true or false")
        before = self.exchange.rename(name, code)
        self._public.on_renamed(before, told=told)
        self.exchange.settle()
        return {"symbol": f"{code}/{before.quote}"}

    async def _margin(self, body: Body) -> object:
        """`{"symbol": "BTC/USD", "volume": "0.1"}`: somebody has opened a margin position on the account; "0": closed it."""
        market = self.exchange.markets.get(str(body.get("symbol")))
        try:
            volume = Decimal(str(body.get("volume")))
        except InvalidOperation:
            volume = Decimal(-1)
        if market is None or not volume.is_finite() or volume < 0:
            raise WrongBodyError("symbol is a traded pair, volume a number from 0 up")
        pair = market.instrument.rest_id
        positions = {txid: row for txid, row in self.exchange.margin_positions.items() if row["pair"] != pair}
        if volume:
            positions[self.exchange.ids.make("T")] = {
                "ordertxid": self.exchange.ids.make("O"), "posstatus": "open", "pair": pair, "type": "buy",
                "ordertype": "limit", "vol": f"{volume:.8f}", "vol_closed": "0.00000000", "misc": "", "oflags": ""}
        self.exchange.margin_positions = positions
        return positions

    async def _rights(self, body: Body) -> object:
        """`{"rights": ["query-funds", …]}`: what the key may do from now on."""
        rights, known = body.get("rights"), (*RIGHTS, *OTHER_RIGHTS)
        if not isinstance(rights, list) or not all(right in known for right in rights):
            raise WrongBodyError(f"rights is a list of {', '.join(known)}")
        self.exchange.credentials.rights = tuple(rights)
        return {"rights": rights}

    async def _open(self, body: Body) -> object:
        """The open orders by client order id, with side and status, at this moment, whatever lists are made to tell."""
        return {order.cl_ord_id: [order.side_word, order.status] for order in self.exchange.account.open.values()}

    async def _fault(self, body: Body) -> object:
        """`{"kind": "lost-ack", "count": 2}`: a fault that begins now, as a script has it."""
        self._switchboard.apply(parse(json.dumps(body, default=float).encode()))
        return {}

    async def _faults(self, body: Body) -> object:
        """`{"seed": 7}`: the faults of a seed from now on; `{}`: how often each kind has struck."""
        seed = body.get("seed")
        if seed is not None:
            if isinstance(seed, bool) or not isinstance(seed, int):
                raise WrongBodyError("seed is a whole number")
            self._switchboard.play(seeded(seed))
        return {"hits": dict(self._switchboard.hits)}

    async def _heal(self, body: Body) -> object:
        """End every fault and every script of faults."""
        self._switchboard.heal()
        return {"hits": dict(self._switchboard.hits)}


def _excess(body: Body, name: str) -> Decimal | None:
    """Return by how much an amount is to be told too high, None where it is not given."""
    value = body.get(name)
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        raise WrongBodyError(f"{name} is a number") from None
