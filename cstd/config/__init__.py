"""Configuration: TOML and the environment into one frozen, checked `Config`.

Purpose: say everything that is wrong at once and before anything starts, so that no limit is ever guessed.
Takes: TOML files (later wins), `CSTD__SECTION__KEY` variables, `--set` texts; for live also keys from the environment
    or systemd credentials, for practice the file that the practice exchange writes.
Gives: `load`, `Config` with its canonical JSON and SHA-256 hash, `from_canonical_json` for replay, `refusals` for the
    mode, `load_credentials`, `template` for the shipped files.
Owns: nothing that changes: a `Config` is frozen.
Invariants: unknown keys are errors; a limit that can lose money has no default; numbers are int or Decimal, never
    float; no key names a host or holds a secret; equal configurations have equal canonical bytes.
Fails by: `ConfigError` (exit 78) whose `problems` carry file, key, value, limit, reason and suggestion.
Try it: `cstd config check -c config/practice.toml`
"""

from cstd.config.credentials import Credentials, Endpoints, load_credentials
from cstd.config.loading import from_canonical_json, load
from cstd.config.problems import Problem
from cstd.config.refusals import refusals
from cstd.config.schema import Config
from cstd.config.templates import template

__all__ = ["Config", "Credentials", "Endpoints", "Problem", "from_canonical_json", "load", "load_credentials", "refusals",
           "template"]
