"""Agents: built, refused, loaded without numba, and voting."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cstd._fast.recorder import Recorder
from cstd.engine import Engine
from cstd.errors import OperatorError
from cstd.signals.agents import build, loader, sources
from cstd.signals.agents.api import FEATURE_COUNT, STATE_WORDS, VALID_WORDS, Agent, Feature
from tests import strategies

HEAD = """
from cstd.signals.agents.api import ABSTAIN, VOTE, Agent, Feature
from cstd.signals.agents.kernels import clamp, has
{extra}
def kernel(features, valid, state, vote):
    if not has(valid, Feature.SPREAD_BPS):
        return ABSTAIN
{body}

AGENT = Agent("{name}", kernel, per="book")
"""
GOOD = "vote[0] = 1.0\nvote[1] = 0.5\nreturn VOTE"


def write(folder: Path, name: str, body: str, extra: str = "") -> Path:
    """Write one agent source whose kernel has this body; returns the folder."""
    folder.mkdir(exist_ok=True)
    indented = "\n".join("    " + line for line in body.splitlines())
    (folder / f"{name}.py").write_text(HEAD.format(name=name, body=indented, extra=extra))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in agents, built once for this file."""
    out = tmp_path_factory.mktemp("agents")
    build.build(build.builtin_dir(), out)
    return out


def copy_of(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


class Caller:
    """Calls a loaded agent by address, as the engine does."""

    def __init__(self, agents: loader.LoadedAgents, name: str) -> None:
        pointer = ctypes.POINTER
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, pointer(ctypes.c_double), pointer(ctypes.c_uint64),
                                pointer(ctypes.c_double), pointer(ctypes.c_double))
        self.call = kind(agents.addresses[agents.names.index(name)])
        self.state = (ctypes.c_double * STATE_WORDS)()

    def __call__(self, values: dict[str, float]) -> tuple[int, float, float]:
        row, valid = (ctypes.c_double * FEATURE_COUNT)(), (ctypes.c_uint64 * VALID_WORDS)()
        for name, value in values.items():
            at = Feature[name]
            row[at] = value
            valid[at >> 6] |= 1 << (at & 63)
        vote = (ctypes.c_double * 2)()
        return self.call(row, valid, self.state, vote), vote[0], vote[1]


LEANING = {"SPREAD_BPS": 2.0, "IMBALANCE_5": 0.8, "WEIGHTED_MID_BPS": 0.7, "OFI_1S": 0.6, "OFI_10S": 0.5}


def test_the_microstructure_agent_votes_with_the_book(built: Path) -> None:
    """It warms up over eight updates, then wants what the book leans to; the mirrored book gives the mirrored vote."""
    agents = loader.load(built)
    buy, sell = Caller(agents, "microstructure"), Caller(agents, "microstructure")
    mirrored = {name: value if name == "SPREAD_BPS" else -value for name, value in LEANING.items()}
    assert [buy(LEANING)[0] for _ in range(7)] == [0] * 7
    assert [sell(mirrored)[0] for _ in range(7)] == [0] * 7
    status, direction, confidence = buy(LEANING)
    assert (status, direction) == (1, 1.0)
    assert 0.25 < confidence < 0.8
    assert sell(mirrored) == (1, -1.0, confidence)
    for _ in range(100):
        last = buy(LEANING)
    # 0.4 x 0.8 + 0.4 x (0.6 + 0.5)/2 + 0.2 x 2 x 0.7/2.0
    assert last == (1, 1.0, pytest.approx(0.68, abs=1e-4))


@pytest.mark.parametrize("missing", ["SPREAD_BPS", "IMBALANCE_5", "WEIGHTED_MID_BPS", "OFI_1S"])
def test_the_microstructure_agent_abstains_without_its_features(built: Path, missing: str) -> None:
    """One missing feature, or a spread of nobody's opinion, is an abstention; a break starts the warm-up over."""
    call = Caller(loader.load(built), "microstructure")
    for _ in range(20):
        call(LEANING)
    assert call(LEANING | {"SPREAD_BPS": 20.1})[0] == 0
    assert call(LEANING | {"SPREAD_BPS": 20.0})[0] == 1
    assert call({name: value for name, value in LEANING.items() if name != missing})[0] == 0
    assert call(LEANING)[0] == 0


BARS = {"M5_RSI14": 55.0, "M5_MACD_HIST_BPS": 1.0, "M5_ADX14": 30.0, "M5_EMA12_BPS": 3.0, "M5_EMA26_BPS": -2.0,
        "M5_BB_UPPER_BPS": 20.0, "M5_BB_LOWER_BPS": -20.0}


def test_the_technical_agent_follows_a_trend_and_fades_an_extreme(built: Path) -> None:
    """ADX above 25: MACD and averages decide. Below 20: a close outside the bands with extreme RSI does."""
    call = Caller(loader.load(built), "technical")
    assert call(BARS) == (1, 1.0, 0.75)
    down = BARS | {"M5_MACD_HIST_BPS": -1.0, "M5_EMA12_BPS": -3.0}
    assert call(down) == (1, -1.0, 0.75)
    torn = BARS | {"M5_MACD_HIST_BPS": -1.0}
    assert call(torn) == (1, 0.0, 1.0)
    oversold = torn | {"M5_ADX14": 15.0, "M5_RSI14": 15.0, "M5_BB_LOWER_BPS": 4.0}
    assert call(oversold) == (1, 1.0, 0.75)
    overbought = torn | {"M5_ADX14": 15.0, "M5_RSI14": 85.0, "M5_BB_UPPER_BPS": -4.0}
    assert call(overbought) == (1, -1.0, 0.75)
    for missing in BARS:
        assert call({name: value for name, value in BARS.items() if name != missing})[0] == 0


def test_agents_load_in_a_process_that_never_imports_numba(built: Path) -> None:
    """Loading and voting need neither numba nor llvmlite, and the object needs no other library."""
    program = f"""
import ctypes, sys
from cstd.signals.agents import loader
agents = loader.load({str(built)!r})
kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)
row, valid = (ctypes.c_double * {FEATURE_COUNT})(), (ctypes.c_uint64 * 2)()
state, vote = (ctypes.c_double * 64)(), (ctypes.c_double * 2)()
print([kind(a)(*[ctypes.addressof(x) for x in (row, valid, state, vote)]) for a in agents.addresses])
print(sorted({{"numba", "llvmlite"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["[0, 0]", "[]"]
    needed = subprocess.run(["readelf", "-d", built / "agents.so"], capture_output=True, text=True, check=True).stdout
    assert "NEEDED" not in needed


def test_the_manifest_names_what_was_built(built: Path) -> None:
    """Names, kinds, hashes of sources and object; the loader gives the object's hash for the journal."""
    manifest = json.loads((built / "agents.json").read_text())
    code = (built / "agents.so").read_bytes()
    assert manifest["so_sha256"] == hashlib.sha256(code).hexdigest() == loader.load(built).sha256
    assert [(a["name"], a["per"]) for a in manifest["agents"]] == [("microstructure", "book"), ("technical", "bar")]
    for agent in manifest["agents"]:
        source = build.builtin_dir() / agent["source"]
        assert agent["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
        assert agent["selftest"]["votes"] > 0
        assert agent["selftest"]["faults"] == 0


def test_the_same_sources_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """A second build has the same hash, so that a journal's hash can be traced to sources."""
    assert build.build(build.builtin_dir(), tmp_path / "again").so_sha256 == loader.load(built).sha256


def test_a_tampered_object_is_refused(built: Path, tmp_path: Path) -> None:
    """One flipped bit anywhere in the object."""
    place = copy_of(built, tmp_path)
    code = bytearray((place / "agents.so").read_bytes())
    code[len(code) // 2] ^= 1
    (place / "agents.so").write_bytes(code)
    with pytest.raises(OperatorError, match="so_sha256"):
        loader.load(place)


@pytest.mark.parametrize(("key", "value"), [("abi", 2), ("features_sha256", "0" * 64), ("machine", "pdp11"),
                                           ("so_sha256", "0" * 64)])
def test_an_object_for_something_else_is_refused(built: Path, tmp_path: Path, key: str, value: object) -> None:
    """Another interface, feature row, machine or hash in the manifest."""
    place = copy_of(built, tmp_path)
    manifest = json.loads((place / "agents.json").read_text())
    (place / "agents.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(OperatorError, match=key):
        loader.load(place)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"agents": 3}', '{"agents": [{"name": 1, "per": "book"}]}', "\xff"])
def test_a_malformed_manifest_is_refused(built: Path, tmp_path: Path, text: str) -> None:
    """It is an operator's error with the way out, not a traceback."""
    place = copy_of(built, tmp_path)
    (place / "agents.json").write_text(text, encoding="latin-1")
    with pytest.raises(OperatorError, match="manifest") as caught:
        loader.load(place)
    assert "agents build" in caught.value.suggestion


def test_missing_files_are_refused(built: Path, tmp_path: Path) -> None:
    """No folder, no manifest, no object, or an agent that the object does not have."""
    with pytest.raises(OperatorError, match="cannot read"):
        loader.load(tmp_path / "nowhere")
    place = copy_of(built, tmp_path)
    manifest = json.loads((place / "agents.json").read_text())
    manifest["agents"].append({"name": "ghost", "per": "bar"})
    (place / "agents.json").write_text(json.dumps(manifest))
    with pytest.raises(OperatorError, match="no function for ghost"):
        loader.load(place)
    (place / "agents.so").unlink()
    with pytest.raises(OperatorError, match="cannot read"):
        loader.load(place)


def test_two_builds_load_side_by_side(built: Path, tmp_path: Path) -> None:
    """Loading one folder after another never gives back the first one's functions."""
    build.build(write(tmp_path / "src", "mine", GOOD), tmp_path / "out")
    first, second = loader.load(built), loader.load(tmp_path / "out")
    assert second.names == ["mine"]
    assert Caller(second, "mine")({"SPREAD_BPS": 1.0}) == (1, 1.0, 0.5)
    assert Caller(first, "microstructure")({"SPREAD_BPS": 1.0})[0] == 0


BROKEN = {
    "reads_outside": (("x = features[int(features[Feature.SPREAD_BPS])]\nvote[0] = 1.0\n"
                      "vote[1] = 0.5 if x > 0 else 0.25\nreturn VOTE"), "IndexError"),
    "writes_outside": ("state[64 + int(abs(features[Feature.SPREAD_BPS])) % 2] = 1.0\nreturn ABSTAIN", "IndexError"),
    "confidence_above_one": ("vote[0] = 1.0\nvote[1] = abs(features[Feature.SPREAD_BPS])\nreturn VOTE", "confidence"),
    "direction_between": ("vote[0] = 0.5\nvote[1] = 0.5\nreturn VOTE", "direction"),
    "votes_nan": ("vote[0] = 1.0\nvote[1] = np.sqrt(features[Feature.SPREAD_BPS])\nreturn VOTE", "confidence nan"),
    "forgets_to_write": ("return VOTE", "direction nan"),
    "status_two": ("return 2", "status 2"),
    "state_nan": ("state[3] = features[Feature.SPREAD_BPS] / features[Feature.IMBALANCE_1]\nreturn ABSTAIN", "state"),
    "raises": ("if features[Feature.SPREAD_BPS] > 1.0:\n    raise ValueError('no')\nreturn ABSTAIN", "ValueError"),
    "writes_features": ("features[0] = 1.0\nreturn ABSTAIN", "does not compile"),
    "no_number": ("vote[0] = len('x' + str(1))\nreturn 'yes'", "does not compile"),
    "calls_libm": ("vote[0] = 1.0\nvote[1] = clamp(np.exp(features[Feature.SPREAD_BPS]), 0.0, 1.0)\nreturn VOTE", "exp"),
    "allocates": ("a = np.zeros(int(abs(features[Feature.SPREAD_BPS])) % 9 + 1)\nstate[0] = a[0]\nreturn ABSTAIN", "NRT_"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_agent_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    """Out of bounds, out of range, not finite, raising, writing its input, needing libm or memory: each by its rule."""
    body, reason = BROKEN[name]
    sources = write(tmp_path / "src", name, body, extra="import numpy as np")
    with pytest.raises(OperatorError, match=reason):
        build.build(sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_agent_that_votes_on_nothing_is_refused(tmp_path: Path) -> None:
    """Without one valid feature there is nothing to have an opinion on."""
    (tmp_path / "eager.py").write_text(
        "from cstd.signals.agents.api import Agent\n"
        "def kernel(features, valid, state, vote):\n    vote[0] = 1.0\n    vote[1] = 1.0\n    return 1\n"
        "AGENT = Agent('eager', kernel, per='bar')\n")
    with pytest.raises(OperatorError, match="no feature was valid"):
        build.build(tmp_path, tmp_path / "out")


def test_an_endless_loop_meets_the_time_limit(tmp_path: Path) -> None:
    """The build ends by itself and says what to look for."""
    sources = write(tmp_path / "src", "endless", "while features[Feature.SPREAD_BPS] == features[Feature.SPREAD_BPS]:\n"
                    "    state[0] += 1.0\nreturn ABSTAIN")
    with pytest.raises(OperatorError, match="did not end") as caught:
        build.build(sources, tmp_path / "out", selftest_timeout_s=8)
    assert "loop" in caught.value.suggestion


def test_an_agent_may_fault_by_status(tmp_path: Path) -> None:
    """A negative status reaches the caller as it is and is counted by the self-test."""
    body = "if features[Feature.SPREAD_BPS] > 1.0:\n    return -7\n" + GOOD
    manifest = build.build(write(tmp_path / "src", "faulty", body), tmp_path / "out")
    assert manifest.agents[0]["selftest"]["faults"] > 0
    assert Caller(loader.load(tmp_path / "out"), "faulty")({"SPREAD_BPS": 2.0})[0] == -7


@pytest.mark.parametrize(("text", "reason"), [
    ("x = 1\n", "no AGENT"), ("import nothing_of_this_name\n", "ModuleNotFoundError"), ("def (\n", "SyntaxError"),
    ("from cstd.signals.agents.api import Agent\nAGENT = Agent('Bad Name', None, per='book')\n", "agent name"),
    ("from cstd.signals.agents.api import Agent\nAGENT = Agent('a', None, per='tick')\n", "must be 'book' or 'bar'"),
])
def test_a_source_that_is_no_agent_is_refused_by_file(tmp_path: Path, text: str, reason: str) -> None:
    """The message names the file and what is wrong with it."""
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(OperatorError, match=f"mine.py.*{reason}"):
        build.build(tmp_path, tmp_path / "out")


def test_a_folder_without_agents_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    """Nothing to build, not a folder, or a name twice."""
    with pytest.raises(OperatorError, match="no agent sources"):
        build.build(tmp_path, tmp_path / "out")
    with pytest.raises(OperatorError, match="not a folder"):
        build.build(tmp_path / "nowhere", tmp_path / "out")
    write(tmp_path / "src", "one", GOOD)
    text = (tmp_path / "src" / "one.py").read_text()
    (tmp_path / "src" / "two.py").write_text(text)
    with pytest.raises(OperatorError, match="two agents are named 'one'"):
        build.build(tmp_path / "src", tmp_path / "out")


def test_an_agent_has_a_sound_name_and_kind() -> None:
    """Names become C functions and metric labels."""
    with pytest.raises(ValueError, match="agent name"):
        Agent("9lives", lambda *_: 0, per="book")
    with pytest.raises(ValueError, match="at most 31"):
        Agent("a" * 32, lambda *_: 0, per="book")
    assert Agent("a" * 31, lambda *_: 0, per="bar").per == "bar"


def test_the_example_of_the_guide_builds_and_votes(tmp_path: Path) -> None:
    """docs/agents.md shows an agent that is accepted, with the self-test line it prints."""
    guide = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    (tmp_path / "thin_ask.py").write_text(strategies.guide("agents.md"))
    manifest = build.build(tmp_path, tmp_path / "out")
    tried = manifest.agents[0]["selftest"]
    assert f"self-test: {tried['votes']} votes, {tried['abstains']} abstentions, 0 faults" in guide
    call = Caller(loader.load(tmp_path / "out"), "thin_ask")
    assert call({"SPREAD_BPS": 2.0, "IMBALANCE_5": 0.5}) == (1, 1.0, 0.5)
    assert call({"SPREAD_BPS": 10.5, "IMBALANCE_5": 0.5})[0] == 0


def test_the_engine_takes_as_many_agents_as_a_folder_may_hold() -> None:
    """What the build accepts the engine has rows for; one more is refused by both."""
    core = Engine(Recorder(None), None, strategy="none").core
    core.set_agents([1] * sources.AGENTS_MAX, [False] * sources.AGENTS_MAX)
    with pytest.raises(ValueError, match=f"at most {sources.AGENTS_MAX}"):
        core.set_agents([1] * (sources.AGENTS_MAX + 1), [False] * (sources.AGENTS_MAX + 1))
