"""A forged order frame is refused at every door that Python has to the venue: the gateway's own bytes, handed in by others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd._fast.codes import Link, OrderAction
from cstd._fast.port import KeptPort, OrderPort
from cstd._fast.sink import RecordingSink
from cstd.clock import SystemClock
from cstd.errors import InvariantError
from cstd.venue import link
from cstd.venue.control import is_control
from cstd.venue.http import HttpClient
from cstd.venue.rest import RestRequest
from tests.scenario.engine_world import World

WORDS = ("add_order", "amend_order", "cancel_order", "cancel_all", "batch_add", "batch_cancel", "edit_order")
S = 1_000_000_000


@dataclass(frozen=True)
class Made:
    """What a gateway has made: frames for the socket, and method and fields of a request for REST."""

    frames: tuple[bytes, ...]
    by_rest: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@pytest.fixture(scope="module")
def gateways() -> Made:
    """The frames of a round trip; of another session an opening, and its cancel by REST when the private socket is gone."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.run(20)
    frames = world.order_frames()
    assert [json.loads(frame)["params"]["side"] for frame in frames][:2] == ["buy", "sell"]
    other = World(strategy="rehearsal").ready()
    order = other.first_order()
    other.reply(order)
    other.report("new", order)
    other.rest["CancelOrder"] = {"count": 1}
    other.link(Link.LINK_PRIVATE, up=False, reason="cut")
    other.run_on(Link.LINK_PUBLIC, 5)
    (text,) = (frame.decode() for frame in other.order_frames(OrderAction.ACTION_CANCEL_REST))
    method, _, fields = text.partition("?")
    return Made((*frames, *other.order_frames(OrderAction.ACTION_ADD)), ((method, tuple(parse_qsl(fields))),))


@pytest.mark.parametrize("kind", [link.PublicLink, link.PrivateLink])
def test_the_sockets_refuse_the_gateways_own_frames(gateways: Made, kind: type[link.Link]) -> None:
    """As they are, with a token's place taken out, with a method behind a harmless one: refused and counted, each."""
    door = kind(RecordingSink())
    forged = [*gateways.frames, *(frame.replace(b',"token":""', b"") for frame in gateways.frames),
              *(b'{"method":"ping",' + frame[1:] for frame in gateways.frames)]
    assert len(set(forged)) > 2
    assert [door.send_control(frame) for frame in forged] == [False] * len(forged)
    assert (door.refused_count, door.unsent_count, door.control_count) == (len(forged), 0, 0)


@given(word=st.sampled_from(WORDS), case=st.sampled_from((str.lower, str.upper, str.title)), before=st.booleans(),
       where=st.sampled_from(("method", "Method", "params", "req_id")), blank=st.sampled_from(("", " ", "\t", "\n")))
def test_no_spelling_of_an_order_is_a_control_frame(*, word: str, case: type[str], before: bool, where: str, blank: str) -> None:
    """A reader that takes the first, the last or any case of a repeated key would find an order in it: it does not pass."""
    said = case(word)
    for spelled in (said, f"\\u{ord(said[0]):04x}{said[1:]}"):
        pair, ping = f'"{where}":{blank}"{spelled}"', '"method":"ping"'
        text = "{" + blank + (f"{pair},{ping}" if before else f"{ping},{pair}") + "}"
        assert json.loads(f'"{spelled}"') == said
        assert not is_control(text.encode())
        assert not is_control(("{" + pair + "}").encode())


def test_rest_refuses_what_the_gateway_made_from_other_hands(gateways: Made) -> None:
    """Its fields without its object, other methods that change orders, and names that lead to one: nothing is called."""
    client = HttpClient("http://127.0.0.1:1", clock=SystemClock())
    asked = [RestRequest(method, True, fields) for method, fields in gateways.by_rest]
    asked += [RestRequest(method, True) for method in (
        "AddOrder", "addorder", "AddOrderBatch", "AmendOrder", "EditOrder", "CancelAll", "CancelAllOrdersAfter", "Withdraw",
        "WalletTransfer", "Earn/Allocate", "../private/AddOrder", "OpenOrders/../AddOrder", "AddOrder?", "OpenOrders ", "")]
    for request in asked:
        with pytest.raises(InvariantError, match="outside the gateway"):
            asyncio.run(client.call(request, S))
    assert (client.refused_count, client.call_count) == (len(asked), 0)


def test_a_port_of_pythons_own_sends_nothing_and_takes_no_place() -> None:
    """A subclass in Python has no `send` that the gateway would call, and no engine's port can be exchanged."""
    got: list[object] = []

    class Forged(OrderPort):
        def send(self, *frame: object) -> int:
            got.append(frame)
            return 0

    world = World(strategy="rehearsal", port=Forged()).ready()
    world.first_order()
    world.run(5)
    assert world.order_frames() and got == []
    with pytest.raises(AttributeError):
        world.core.port = KeptPort()  # type: ignore[attr-defined]
