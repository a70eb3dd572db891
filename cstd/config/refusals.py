"""Why a valid configuration may still not be run here and now."""

from __future__ import annotations

import grp
import os
from collections.abc import Mapping

from cstd.config.credentials import load_credentials
from cstd.config.problems import Problem, problems_of
from cstd.config.schema import Config
from cstd.errors import ConfigError


def refusals(config: Config, environ: Mapping[str, str]) -> list[Problem]:
    """Return every reason not to start in this mode, [] when there is none.

    Args:
        config: a loaded configuration.
        environ: the process environment, where live finds its keys.
    """
    found = _no_such_cpus(config) + _no_such_groups(config)
    if config.mode == "live":
        found += _not_exclusive(config)
        try:
            load_credentials("live", config.run.dir, environ)
        except ConfigError as error:
            found += problems_of(error)
    return found


def _no_such_cpus(config: Config) -> list[Problem]:
    """Pinning is to CPUs that this host has and this process may use."""
    allowed = os.sched_getaffinity(0)
    return [Problem(key=f"process.cpus[{index}]", value=str(cpu), reason="this process may not run on that CPU",
                    limit=",".join(map(str, sorted(allowed))), suggestion="see `lscpu -e`, and CPUAffinity= of the unit")
            for index, cpu in enumerate(config.process.cpus) if cpu not in allowed]


def _no_such_groups(config: Config) -> list[Problem]:
    """A role is a group's of this host: one that is not there would let nobody in, whom somebody counts on."""
    found = []
    for key in ("operate_group", "read_group"):
        name = getattr(config.admin, key)
        try:
            if name:
                grp.getgrnam(name)
        except KeyError:
            found.append(Problem(key=f"admin.{key}", value=name, reason="is no group of this host",
                                 suggestion=f"make it with `groupadd {name}`, or leave it empty"))
    return found


def _not_exclusive(config: Config) -> list[Problem]:
    """Cancel-all-after is account-wide, so a live account belongs to one daemon: the operator has to say that it does."""
    if config.account.exclusive:
        return []
    return [Problem(key="account.exclusive", value="false", limit="true in live", suggestion="set exclusive = true",
                    reason="confirm that no other program trades this account: cancel-all-after is account-wide")]
