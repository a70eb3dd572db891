"""The arguments of `cstd models ...`."""

from __future__ import annotations

import argparse

from cstd.cli.values import output

DIRECTORY = "models"
# Written out: the command line does not load the registry to print its help. A test compares them.
STATES = ("shadow", "canary", "production", "retired", "rejected")

EXAMPLES = """\
examples:
  cstd models list --key models.key
  cstd models verify --key models.key                     every version; exit 3 where one is not what was registered
  cstd models sign hourly 0003 --key models.key           as it was trained, to be registered
  cstd models promote hourly 0003 --key models.key --reason "beats 0002 by 0.4 % Brier skill"
  cstd models rollback hourly --key models.key --yes --reason drift
  cstd models drift --run-dir .run/current                 as the running daemon knows it; the job drift-check
  cstd models diff hourly 0002 0003 --key models.key

The key signs cards and log: (umask 077; openssl rand -hex 32 > models.key). Without --key it is systemd's credential
models_key. States, refusals and what is signed: docs/models-registry.md.
"""


def _registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", metavar="DIR", default=DIRECTORY, help=f"the registry (default {DIRECTORY})")
    parser.add_argument("--key", metavar="FILE", help="the key of its cards and log, mode 0600 (default: systemd's credential)")
    output(parser)


def _step(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", metavar="TEXT", default="", help="for the log")
    parser.add_argument("--by", metavar="WHO", help="who does it, for the log (default: you)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _registry(parser)


def list_(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models list`."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="versions of this one alone")
    _registry(parser)


def show(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models show`."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    parser.add_argument("version", nargs="?", metavar="VERSION", help="such as 0003 (default: the one in production)")
    _registry(parser)


def verify(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models verify`."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="this one alone")
    parser.add_argument("version", nargs="?", metavar="VERSION", help="this version alone")
    _registry(parser)


def sign(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models sign`."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    parser.add_argument("version", metavar="VERSION", help="such as 0003")
    _step(parser)


def promote(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models promote`."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    parser.add_argument("version", metavar="VERSION", help="such as 0003")
    parser.add_argument("--to", choices=STATES, help="the state it goes to (default: the next on the way to production)")
    _step(parser)


def rollback(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models rollback`."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    _step(parser)


def drift(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models drift`."""
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE",
                        help="for its socket, its [scorer], and whether drift.rollback lets it roll back")
    parser.add_argument("--run-dir", metavar="DIR", help="the session (default: [run] dir)")
    output(parser)


def diff(parser: argparse.ArgumentParser) -> None:
    """Arguments of `models diff`."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    parser.add_argument("version", metavar="VERSION", help="the one version")
    parser.add_argument("other", metavar="OTHER", help="the other version")
    _registry(parser)


# Word, what it gives, its arguments, its function in `cstd.cli.models`.
VERBS = (
    ("list", "models, their versions and states", list_, "list_versions"),
    ("show", "the card of a version, and how it got where it is", show, "show"),
    ("verify", "whether each version is what was registered; exit 3 if one is not", verify, "verify"),
    ("sign", "a version that was trained without the key, signed and registered", sign, "sign"),
    ("promote", "a version's next state, or the one that --to names", promote, "promote"),
    ("rollback", "the production version aside, the one before it back", rollback, "rollback"),
    ("drift", "whether the model that scores has drifted, and what that asks for; exit 3 if something", drift, "drift"),
    ("diff", "where the cards of two versions differ", diff, "diff"),
)
