"""What a start runs: agents and strategy, the very ones that its boot event names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cstd.config import Config
from cstd.decision.setup import STRATEGY_CODES, strategy_setup

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


def take_code(engine: Engine, payload: dict[str, Any]) -> None:
    """Take up the agents and the strategy that a boot event names; journals of before strategies had hashes name none.

    Raises:
        MissingCodeError: one of them is not here.
    """
    engine.agents = engine.code.agents(payload["agents"]["sha256"], engine.agents)
    sha256 = payload.get("strategy", {}).get("sha256", "")
    engine.own = engine.code.strategy(sha256) if sha256 else None


def give_code(engine: Engine, cfg: Config, strategy: str | None) -> None:
    """Give them to the core. Others than the boot before had begin with an empty state."""
    core, agents = engine.core, engine.agents
    code, address, params = strategy_setup(cfg, strategy, engine.own)
    now = agents.sha256 if agents is not None else "", code, engine.own.sha256 if engine.own is not None else ""
    before, engine.code_ran = engine.code_ran, now
    others, another = before is not None and before[0] != now[0], before is not None and before[1:] != now[1:]
    core.set_strategy(code, address, params, own=code == STRATEGY_CODES["own"], fresh=another)
    if agents is not None:
        core.set_agents(agents.addresses, [per == "bar" for per in agents.per], fresh=others)
