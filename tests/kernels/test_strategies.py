"""Strategies of a user's own: built, refused by their rules, loaded; and the quantity of a notional, as the engine has it."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cstd._fast.strategy import VIEW_NAMES, qty_for
from cstd.errors import OperatorError
from cstd.signals.agents import build, loader
from cstd.signals.agents.kinds import STRATEGY
from cstd.signals.strategies import kernels
from cstd.signals.strategies.api import Strategy, View, Wish, positions
from tests import strategies

ROOT = Path(__file__).parents[2]
HEAD = """
from cstd.signals.agents.api import Feature
from cstd.signals.strategies.api import EXIT, NOTHING, OPEN, Strategy, View, Wish, positions
from cstd.signals.strategies.kernels import qty_for, share
import numpy as np

PARAMS = {{"size_ppm": 2500}}
Param = positions(PARAMS)


def kernel(view, features, valid, state, params, wish):
    wish[Wish.QTY_RAW] = 1000
    wish[Wish.PRICE_RAW] = 5000
    wish[Wish.LIFETIME_NS] = 1_000_000_000
    wish[Wish.EPISODE] = view[View.EPISODE] + 1
{body}


STRATEGY = Strategy("{name}", kernel, params=PARAMS)
"""


def write(folder: Path, name: str, body: str) -> Path:
    """Write one strategy whose kernel goes on with this body from a wish that breaks no rule; returns its file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(HEAD.format(name=name, body="\n".join("    " + line for line in body.splitlines())))
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strategy that always wishes to open."""
    out = tmp_path_factory.mktemp("strategy")
    build.build_strategy(write(out / "src", "always", "return OPEN"), out / "built")
    return out / "built"


def copy_of(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def test_the_manifest_names_what_was_built(built: Path) -> None:
    """Name, parameters, hashes and the self-test's counts; what is loaded has the same."""
    manifest = json.loads((built / "strategy.json").read_text())
    strategy = loader.load_strategy(built)
    assert (strategy.name, strategy.params, strategy.sha256) == ("always", {"size_ppm": 2500}, manifest["so_sha256"])
    tried = manifest["strategy"]["selftest"]
    assert tried["openings"] > 1_900 and tried["exits"] == tried["nothings"] == 0


def test_a_folder_that_holds_one_is_enough(tmp_path: Path) -> None:
    """A folder is searched; two strategies in it are one too many."""
    write(tmp_path / "src", "one", "return NOTHING")
    assert build.build_strategy(tmp_path / "src", tmp_path / "out").strategy["name"] == "one"
    write(tmp_path / "src", "two", "return NOTHING")
    with pytest.raises(OperatorError, match="at most 1") as caught:
        build.build_strategy(tmp_path / "src", tmp_path / "out")
    assert "name the file" in caught.value.suggestion
    with pytest.raises(OperatorError, match="there is no"):
        build.build_strategy(tmp_path / "nowhere.py", tmp_path / "out")


BROKEN = {
    "no_quantity": ("wish[Wish.QTY_RAW] = 0\nreturn OPEN", "qty_raw 0"),
    "no_quantity_to_sell": ("wish[Wish.QTY_RAW] = -1\nreturn EXIT", "an exit with qty_raw -1"),
    "no_price": ("wish[Wish.PRICE_RAW] = view[View.BID_RAW] - 10_000\nreturn OPEN", "price_raw -"),
    "no_lifetime": ("wish[Wish.LIFETIME_NS] = 0\nreturn OPEN", "lifetime_ns 0"),
    "a_week": ("wish[Wish.LIFETIME_NS] = 7 * 86_400_000_000_000\nreturn OPEN", "lifetime_ns 604800000000000"),
    "episode_back": ("wish[Wish.EPISODE] = 10**9 - view[View.NOW_MONO_NS] // 1_000_000_000\nreturn OPEN", "never decreases"),
    "absurd": ("wish[Wish.QTY_RAW] = 2**62\nreturn OPEN", "must be 1 to"),
    "urgency": ("wish[Wish.URGENCY] = 2\nreturn EXIT", "urgency 2"),
    "other_kind": ("return 7", "returned 7"),
    "negative": ("return -1", "returned -1"),
    "reads_outside": ("state[0] = view[25 + view[View.PASSES_TIMER]]\nreturn NOTHING", "IndexError"),
    "writes_outside": ("state[32] = 1\nreturn NOTHING", "IndexError"),
    "raises": ("if view[View.SELLABLE]:\n    raise ValueError('no')\nreturn NOTHING", "ValueError"),
    "writes_the_view": ("view[0] = 1\nreturn NOTHING", "does not compile"),
    "writes_parameters": ("params[0] = 1\nreturn NOTHING", "does not compile"),
    "calls_libm": ("state[0] = int(np.exp(features[0]))\nreturn NOTHING", "exp"),
    "allocates": ("a = np.zeros(view[View.LOT_RAW] % 9 + 1)\nstate[0] = int(a[0])\nreturn NOTHING", "NRT_"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    """Each rule has a message of its own, with the strategy's name; the output folder stays as it was."""
    body, reason = BROKEN[name]
    with pytest.raises(OperatorError, match=reason) as caught:
        build.build_strategy(write(tmp_path / "src", name, body), tmp_path / "out")
    assert name in caught.value.message or "need functions from outside" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_an_endless_loop_meets_the_time_limit(tmp_path: Path) -> None:
    """The build ends by itself and says what to look for."""
    path = write(tmp_path / "src", "endless", "while view[View.LOT_RAW] != 0:\n    state[0] += 1\nreturn NOTHING")
    with pytest.raises(OperatorError, match="endless did not end") as caught:
        build.build_strategy(path, tmp_path / "out", selftest_timeout_s=8)
    assert "loop" in caught.value.suggestion


@pytest.mark.parametrize(("text", "reason"), [
    ("x = 1\n", "no STRATEGY"), ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    ("from cstd.signals.agents.api import Agent\nSTRATEGY = Agent('a', None, per='bar')\n", "no STRATEGY"),
])
def test_a_source_that_is_no_strategy_is_refused_by_file(tmp_path: Path, text: str, reason: str) -> None:
    """The message names the file and what is wrong with it."""
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(OperatorError, match=f"mine.py.*{reason}"):
        build.build_strategy(tmp_path / "mine.py", tmp_path / "out")


@pytest.mark.parametrize(("name", "params", "reason"), [
    ("9lives", {}, "strategy name"), ("a", {"Size": 1}, "parameter name"), ("a", {"size": 1.5}, "64-bit integer"),
    ("a", {"size": True}, "64-bit integer"), ("a", {"size": 2**63}, "64-bit integer"),
    ("a", {f"p{i}": i for i in range(17)}, "at most 16"),
])
def test_a_strategy_has_a_sound_name_and_parameters(name: str, params: dict[str, int], reason: str) -> None:
    """Names become C functions and keys, parameters an array of integers."""
    with pytest.raises(ValueError, match=reason):
        Strategy(name, lambda *_: 0, params=params)


@pytest.mark.parametrize(("key", "value"), [("abi", 99), ("features_sha256", "0" * 64), ("machine", "pdp11"),
                                           ("so_sha256", "0" * 64)])
def test_an_object_for_something_else_is_refused(built: Path, tmp_path: Path, key: str, value: object) -> None:
    """Another interface, feature row, machine or hash in the manifest; the way out is the strategy's own verb."""
    place = copy_of(built, tmp_path)
    manifest = json.loads((place / "strategy.json").read_text())
    (place / "strategy.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(OperatorError, match=key) as caught:
        loader.load_strategy(place)
    assert STRATEGY.verb in caught.value.suggestion


def test_defaults_that_were_changed_in_the_manifest_are_refused(built: Path, tmp_path: Path) -> None:
    """They stand in the object, so its hash, which the journal has, is of them too."""
    place = copy_of(built, tmp_path)
    text = (place / "strategy.json").read_text()
    (place / "strategy.json").write_text(text.replace("2500", "2501"))
    with pytest.raises(OperatorError, match=r"size_ppm=2500.*size_ppm=2501"):
        loader.load_strategy(place)


def test_agents_are_no_strategy(built: Path, tmp_path: Path) -> None:
    """The folder of the one is refused as the other."""
    with pytest.raises(OperatorError, match=r"cannot read .*strategy\.json"):
        loader.load_strategy(loader.default_dir())
    with pytest.raises(OperatorError, match=r"cannot read .*agents\.json"):
        loader.load(built)


def test_positions_name_the_words() -> None:
    """The view is named in the order of the C struct, parameters in the order of their table."""
    assert [view.name for view in View] == list(VIEW_NAMES) and View.NOW_MONO_NS == 0
    assert [int(word) for word in Wish] == [0, 1, 2, 3, 4]
    param = positions({"size_ppm": 1, "retry_s": 2})
    assert (param.SIZE_PPM, param.RETRY_S) == (0, 1)


RAW = st.one_of(st.integers(-5, 5), st.integers(1, 2**63 - 1), st.sampled_from([10**n for n in range(19)]),
                st.integers(2**62, 2**63 - 1))
SCALE = st.one_of(st.sampled_from([10**n for n in range(19)]), st.integers(1, 2**63 - 1))


@settings(max_examples=2_000, deadline=None)
@given(notional=RAW, rate=st.one_of(st.just(10**8), RAW), price=RAW, price_scale=SCALE, qty_scale=SCALE, lot=RAW)
@example(notional=2**63 - 1, rate=1, price=1, price_scale=10**18, qty_scale=10**18, lot=1)
@example(notional=25 * 10**8, rate=10**8, price=1_000_000, price_scale=10, qty_scale=10**8, lot=1)
@example(notional=1, rate=10**8, price=2**63 - 1, price_scale=1, qty_scale=1, lot=1)
def test_the_quantity_of_a_notional_is_the_engines(notional: int, rate: int, price: int, price_scale: int, qty_scale: int,
                                                   lot: int) -> None:
    """The kernel that strategies call gives what the built-in ones compute in 128 bits, whatever overflows on the way."""
    assert kernels.qty_for(notional, rate, price, price_scale, qty_scale, lot) == qty_for(
        notional, rate, price, price_scale, qty_scale, lot)


@settings(max_examples=2_000, deadline=None)
@given(a=st.integers(1, 2**63 - 1), b=st.integers(1, 2**63 - 1), c=st.integers(1, 2**63 - 1))
def test_products_are_divided_exactly(a: int, b: int, c: int) -> None:
    """Rounded down as Python's integers are, -1 where the answer has no room."""
    exact = a * b // c
    assert kernels.muldiv(a, b, c) == (exact if exact < 2**63 else -1)
    assert kernels.share(a, b) == (a * b // 10**6 if a * b // 10**6 < 2**63 else 0)


def test_a_share_of_equity_buys_what_paper_says() -> None:
    """0.25 % of 10,000 USD at 100,000.0 USD is 0.00025 BTC."""
    notional = kernels.share(10_000 * 10**8, 2_500)
    assert Decimal(kernels.qty_for(notional, 10**8, 1_000_000, 10, 10**8, 1)).scaleb(-8) == Decimal("0.00025")


def kelly(edge: int, error: int, z_milli: int, volatility: int, cap: int) -> int:
    """A quarter of Kelly's share on the shrunk edge as docs/strategies.md says it, in Decimal; 0 unless the bound is above 0."""
    with localcontext() as context:
        context.prec = 80
        edge = min(edge, 10**6)
        if Decimal(edge) - Decimal(z_milli) / 1000 * error <= 0:
            return 0
        shrunk = Decimal(edge) * edge * edge / (Decimal(edge) * edge + Decimal(error) * error) / 10**6
        share = shrunk / (Decimal(volatility) / 10**6) ** 2 / 4
        return min(int(share * 10**6), cap)


EDGES, ERRORS, ZS = st.integers(1, 2 * 10**6), st.integers(0, 10**5), st.integers(0, 4_000)
VOLATILITIES, CAPS = st.integers(100, 10**6), st.integers(1, 10**6)


@settings(max_examples=1_000, deadline=None)
@given(edge=EDGES, error=ERRORS, z=ZS, volatility=VOLATILITIES, cap=CAPS)
@example(edge=2_000, error=0, z=1_645, volatility=20_000, cap=10**6)
@example(edge=1_645, error=1_000, z=1_645, volatility=20_000, cap=10**6)
def test_the_share_is_a_quarter_of_kellys_on_a_shrunk_edge(edge: int, error: int, z: int, volatility: int, cap: int) -> None:
    """Within the rounding of the shrunk edge to a billionth the formula, never above it, never above the cap, 0 at the bound."""
    found, exact = kernels.kelly_share(edge, error, z, volatility, cap), kelly(edge, error, z, volatility, cap)
    rounding = 10**9 // (4 * volatility * volatility) + 1
    assert max(0, exact - rounding) <= found <= exact <= cap
    if min(edge, 10**6) * 1_000 <= z * error:
        assert found == 0


@settings(max_examples=1_000, deadline=None)
@given(edge=EDGES, error=ERRORS, z=ZS, volatility=VOLATILITIES, cap=CAPS, more=st.integers(1, 10**5),
       what=st.sampled_from(["edge", "error", "z", "volatility", "cap"]))
def test_a_lower_bound_or_a_larger_variance_never_gives_more(edge: int, error: int, z: int, volatility: int, cap: int, more: int,
                                                             what: str) -> None:
    """Less edge, more error, a wider interval, more volatility, a smaller cap: none of them makes the size larger."""
    worse = {"edge": edge, "error": error, "z": z, "volatility": volatility, "cap": cap}
    worse[what] = max(0, worse[what] - more) if what in ("edge", "cap") else worse[what] + more
    assert kernels.kelly_share(*worse.values()) <= kernels.kelly_share(edge, error, z, volatility, cap)


@pytest.mark.parametrize("change", [
    {"edge": 0}, {"edge": -1}, {"edge": -(2**63)}, {"error": -1}, {"error": 2**63 - 1}, {"z": -1}, {"z": 2**63 - 1},
    {"volatility": 0}, {"volatility": -5}, {"volatility": 2**63 - 1}, {"cap": 0}, {"cap": -1}])
def test_what_is_out_of_range_is_worth_nothing(change: dict[str, int]) -> None:
    """An edge that is not known, a variance that is not, a cap of nothing: no size."""
    values = {"edge": 2_000, "error": 500, "z": 1_645, "volatility": 20_000, "cap": 10**6} | change
    assert kernels.kelly_share(*values.values()) == 0
    assert kernels.kelly_share(2_000, 500, 1_645, 20_000, 10**6) > 0


@given(volatility=st.integers(-5, 10**9), target=st.integers(-5, 10**9))
def test_a_volatility_target_never_enlarges(volatility: int, target: int) -> None:
    """Target over volatility, at most one, rounded down; nothing where one of them is unknown."""
    exact = min(target * 10**6 // volatility, 10**6) if volatility > 0 and target > 0 else 0
    assert kernels.volatility_scale(volatility, target) == exact


@given(year=st.integers(1, 10**9), seconds=st.integers(1, 365 * 86_400))
@example(year=10**9, seconds=365 * 86_400)
@example(year=1, seconds=1)
def test_volatility_scales_with_the_root_of_time(year: int, seconds: int) -> None:
    """Never less than the exact root, which would make a position larger, and at most two millionths more."""
    found = kernels.horizon_volatility(year, seconds)
    with localcontext() as context:
        context.prec = 60
        exact = (Decimal(year) * year * seconds / (365 * 86_400)).sqrt()
    assert exact <= found <= exact + 2
    assert kernels.horizon_volatility(0, seconds) == kernels.horizon_volatility(year, 0) == 0


def test_the_sizes_compile_into_a_strategy(tmp_path: Path) -> None:
    """A kernel that sizes by them is built, linked to nothing and tried like any other."""
    body = """
volatility_ppm = horizon_volatility(800_000, 3_600)
size_ppm = share(kelly_share(2_000, 500, 1_645, volatility_ppm, 20_000), volatility_scale(volatility_ppm, 5_000))
wish[Wish.QTY_RAW] = max(size_ppm, 1)
return OPEN
""".strip()
    path = write(tmp_path / "src", "sized", body)
    path.write_text(path.read_text().replace("import qty_for, share", "import horizon_volatility, kelly_share, share, "
                                             "volatility_scale"))
    built = build.build_strategy(path, tmp_path / "out").strategy
    assert built["selftest"]["openings"] > 1_900


def test_the_example_of_the_guide_builds(tmp_path: Path) -> None:
    """docs/strategies.md shows a strategy that is accepted, with the self-test line it prints, and says what it is not."""
    guide = (ROOT / "docs" / "strategies.md").read_text()
    (tmp_path / "agreed.py").write_text(strategies.guide("strategies.md"))
    built = build.build_strategy(tmp_path / "agreed.py", tmp_path / "out").strategy
    tried = ", ".join(f"{count} {word}" for word, count in built["selftest"].items())
    assert f"self-test: {tried}\n" in guide
    assert guide.count("no proven edge") == 2
    for name in VIEW_NAMES:
        assert f"`{name}`" in guide
