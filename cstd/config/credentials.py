"""Keys of the venue: read at the process edge, kept out of the configuration, the engine and the journal."""

from __future__ import annotations

import base64
import binascii
import json
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cstd.config.problems import Problem, config_error

PRACTICE_FILE = "practice.json"
# With TLS the name is part of what is verified, and a certificate is for a name: localhost, which RFC 6761 keeps for loopback.
LOOPBACK_PREFIXES = ("http://127.0.0.1:", "ws://127.0.0.1:", "https://localhost:", "wss://localhost:")
_ENV_KEY, _ENV_SECRET, _ENV_ALIAS = "KRAKEN_API_KEY", "KRAKEN_API_SECRET", "KRAKEN_SECRET"
# systemd's LoadCredential= puts each secret into a file of its own name below $CREDENTIALS_DIRECTORY.
_CREDENTIAL_KEY, _CREDENTIAL_SECRET = "kraken_api_key", "kraken_api_secret"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where the four kinds of connection go."""

    rest: str
    ws_public: str
    ws_private: str
    ws_futures: str


KRAKEN = Endpoints(rest="https://api.kraken.com", ws_public="wss://ws.kraken.com/v2",
                   ws_private="wss://ws-auth.kraken.com/v2", ws_futures="wss://futures.kraken.com/ws/v1")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to connect. `notes` go to the log; the secret never shows in a repr."""

    endpoints: Endpoints
    api_key: str
    api_secret: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Credentials(endpoints={self.endpoints!r}, api_key=..., api_secret=...)"


def load_credentials(mode: str, run_dir: str | Path, environ: Mapping[str, str]) -> Credentials:
    """Return endpoints and keys of the mode.

    practice reads `practice.json` in the run directory; paper reads no key; both ignore keys in the environment, with a
    note; live takes systemd credentials before the environment.

    Raises:
        ConfigError: a key is missing, malformed or readable by others, or the practice file points elsewhere.
    """
    if mode == "practice":
        return _practice(Path(run_dir) / PRACTICE_FILE, environ)
    if mode == "paper":
        return Credentials(endpoints=KRAKEN, api_key="", api_secret="", notes=_ignored(mode, environ))
    return _live(environ)


def _refuse(key: str, reason: str, *, file: str = "", suggestion: str = "") -> Exception:
    return config_error([Problem(key=key, reason=reason, file=file, suggestion=suggestion)])


def _is_there(path: Path, key: str) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _refuse(key, f"cannot be looked at: {error.strerror}", file=str(path),
                      suggestion="its rights and those of the directories above it") from error


def _private(path: Path, key: str) -> bytes:
    """Return the content of a file that only its owner can read."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise _refuse(key, f"cannot be read: {error.strerror}", file=str(path)) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _refuse(key, f"is open to others (mode {stat.S_IMODE(mode):04o})", file=str(path),
                      suggestion=f"chmod 600 {path}")
    return content


def _practice(path: Path, environ: Mapping[str, str]) -> Credentials:
    if not _is_there(path, "practice.json"):
        raise _refuse("(file)", "there is no practice exchange in this run directory", file=str(path),
                      suggestion="start `cstd practice` first")
    try:
        told = msgspec.json.decode(_private(path, "practice.json"), type=dict[str, str])
        endpoints = Endpoints(**{name: told[name] for name in Endpoints.__struct_fields__})
        key, secret = told["api_key"], told["api_secret"]
    except (msgspec.DecodeError, KeyError) as error:
        raise _refuse("practice.json", f"is not what `cstd practice` writes: {error}", file=str(path)) from error
    for name in Endpoints.__struct_fields__:
        if not getattr(endpoints, name).startswith(LOOPBACK_PREFIXES):
            raise _refuse(name, "mode practice talks to 127.0.0.1 only", file=str(path))
    return Credentials(endpoints=endpoints, api_key=key, api_secret=secret, notes=_ignored("practice", environ))


def _ignored(mode: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note about keys that are there and not read."""
    present = [name for name in (_ENV_KEY, _ENV_SECRET, _ENV_ALIAS) if environ.get(name)]
    return (f"mode {mode} ignores {', '.join(present)}",) if present else ()


def _live(environ: Mapping[str, str]) -> Credentials:
    notes: list[str] = []
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and _is_there(Path(directory) / _CREDENTIAL_KEY, _CREDENTIAL_KEY):
        # systemd mounts these readable to the service alone, with a mode that is its own affair (0440 on a tmpfs).
        key, secret = _systemd(Path(directory))
    else:
        key = environ.get(_ENV_KEY, "")
        secret = environ.get(_ENV_SECRET, "")
        if not secret and environ.get(_ENV_ALIAS):
            secret = environ[_ENV_ALIAS]
            notes.append(f"{_ENV_ALIAS} is an alias: please set {_ENV_SECRET}")
    if problems := _key_problems(key, secret):
        raise config_error(problems)
    return Credentials(endpoints=KRAKEN, api_key=key, api_secret=secret, notes=tuple(notes))


def _systemd(directory: Path) -> tuple[str, str]:
    texts = []
    for name in (_CREDENTIAL_KEY, _CREDENTIAL_SECRET):
        if open_to_everybody(directory / name):
            raise _refuse(name, "can be read by everybody on this host", file=str(directory / name),
                          suggestion=f"chmod o-r {directory / name}, or let systemd make it: LoadCredential={name}:/path")
        try:
            texts.append((directory / name).read_text("ascii").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise _refuse(name, f"cannot be read: {error}", file=str(directory / name),
                          suggestion=f"LoadCredential={name}:/path") from error
    return texts[0], texts[1]


def open_to_everybody(path: Path) -> bool:
    """Return whether any user can read a file: it and its directory are open. One that is not there is not."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH and path.parent.stat().st_mode & stat.S_IXOTH)
    except OSError:
        return False


def _key_problems(key: str, secret: str) -> list[Problem]:
    """Return what is wrong with a pair of keys, without showing any of it."""
    how = "set it in the environment, or use systemd credentials"
    problems = [Problem(key=name, reason="mode live needs it and it is not set", suggestion=how)
                for name, value in ((_ENV_KEY, key), (_ENV_SECRET, secret)) if not value]
    if secret:
        try:
            base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            problems.append(Problem(key=_ENV_SECRET, reason="is not base64", suggestion="copy it again from Kraken"))
    return problems


def read_practice_file(run_dir: str | Path) -> dict[str, str]:
    """Return what the practice exchange wrote about itself, {} when it has not yet."""
    try:
        told = json.loads((Path(run_dir) / PRACTICE_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
