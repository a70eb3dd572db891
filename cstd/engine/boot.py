"""The boot event: everything that a replay needs to know about a start."""

from __future__ import annotations

from typing import Any

import msgspec

from cstd import __version__
from cstd.config import Config
from cstd.decision.setup import strategy_params
from cstd.signals.agents.loader import LoadedAgents, LoadedStrategy

NS_PER_S = 1_000_000_000


def next_epoch(last: int, wall_ns: int) -> int:
    """Return the epoch of a start: its second, and in any case more than the last one in the journal.

    A client order id is a hash of the account, the epoch and a count. Counting starts alone would begin again at 1 with
    each new journal, and give an account ids that it has used; the clock alone may step back.
    """
    return max(last + 1, wall_ns // NS_PER_S)


def boot_payload(cfg: Config, boot_epoch: int, agents: LoadedAgents | None, own: LoadedStrategy | None = None,
                 handover: dict[str, Any] | None = None) -> bytes:
    """Return the payload of EVENT_BOOT: version, epoch, configuration with its hash, agents and strategy with theirs.

    handover: what an earlier journal hands over to this one, with its SHA-256: for a journal's first start alone.
    """
    more = {"handover": {**handover, "content": msgspec.Raw(handover["content"])}} if handover is not None else {}
    return msgspec.json.encode({
        "version": __version__,
        "boot_epoch": boot_epoch,
        "mode": cfg.mode,
        "config": msgspec.Raw(cfg.to_canonical_json()),
        "config_hash": cfg.config_hash.hex(),
        "agents": {"names": agents.names if agents else [], "sha256": agents.sha256 if agents else ""},
        "strategy": {"name": own.name if own else cfg.strategy.name, "sha256": own.sha256 if own else "",
                     "params": strategy_params(cfg, cfg.strategy.name, own)},
        **more,
    })
