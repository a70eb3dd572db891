"""The admin socket as the configuration has it: its groups, its lockout, and which log tells of what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cstd.config import Config
from cstd.ops.access import GID_MAP, Groups, Lockout, group_id, is_mapped
from cstd.ops.admin import AdminServer
from cstd.ops.logs import Logs
from cstd.ops.view import EngineView

# Tries of what is not allowed: their lines go to the channel of security, those of commands to that of audit.
REFUSED = frozenset({"connection refused", "role refused", "token refused", "locked out"})


def admin_server(cfg: Config, path: Path, view: EngineView, submit: Callable[[dict[str, Any]], Any], logs: Logs) -> AdminServer:
    """Return the server of the admin socket, not yet started.

    Raises:
        OperatorError: a group that has a role is not on this host.
    """
    admin = cfg.admin
    groups = Groups(group_id(admin.operate_group), group_id(admin.read_group))
    gid_map = GID_MAP.read_text("utf-8")
    for name, gid in ((admin.operate_group, groups.operate), (admin.read_group, groups.read)):
        if gid is not None and not is_mapped(gid, gid_map):
            logs.channel("security").warning("this process cannot see who is in a group: its members are refused", group=name,
                                             suggestion="PrivateUsers=no in the unit; docs/access.md")
    lockout = Lockout(failures_max=admin.lockout_failures, window_s=admin.lockout_window_s, lock_s=admin.lockout_s)
    return AdminServer(path, view, submit, audit=lambda entry: tell(logs, entry), groups=groups, lockout=lockout)


def tell(logs: Logs, entry: dict[str, Any]) -> None:
    """Log what the admin socket reports."""
    if entry["what"] in REFUSED:
        logs.channel("security").warning("admin", **entry)
    else:
        logs.channel("audit").info("admin", **entry)
