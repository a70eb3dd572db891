"""Keys and refusals: each mode reads only what it may, and says why it will not start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cstd.config import load, load_credentials, refusals, template
from cstd.errors import ConfigError

SECRET = "c2VjcmV0IGZvciB0ZXN0cw=="
KEYS = {"KRAKEN_API_KEY": "a key", "KRAKEN_API_SECRET": SECRET}
TOLD = {"rest": "http://127.0.0.1:1", "ws_public": "ws://127.0.0.1:2/v2", "ws_private": "ws://127.0.0.1:3/v2",
        "ws_futures": "ws://127.0.0.1:4/ws/v1", "api_key": "practice key", "api_secret": SECRET}


def write(run_dir: Path, told: dict[str, str], mode: int = 0o600) -> None:
    """Write a practice.json as the exchange does."""
    path = run_dir / "practice.json"
    path.write_text(json.dumps(told))
    path.chmod(mode)


def test_practice_reads_the_exchanges_file(tmp_path: Path) -> None:
    """Endpoints and key come from practice.json, and nothing is noted."""
    write(tmp_path, TOLD)
    credentials = load_credentials("practice", tmp_path, {})
    assert (credentials.api_key, credentials.notes) == ("practice key", ())
    assert credentials.endpoints.ws_private == TOLD["ws_private"]


def test_practice_ignores_keys_of_the_environment_with_a_note(tmp_path: Path) -> None:
    """A real key in the environment is not used in practice, and the operator is told."""
    write(tmp_path, TOLD)
    credentials = load_credentials("practice", tmp_path, KEYS)
    assert credentials.api_key == "practice key"
    assert "ignores KRAKEN_API_KEY, KRAKEN_API_SECRET" in credentials.notes[0]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_key_file_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    """A practice.json that others can read is refused, with the command that closes it."""
    write(tmp_path, TOLD, mode)
    with pytest.raises(ConfigError, match="open to others") as caught:
        load_credentials("practice", tmp_path, {})
    assert "chmod 600" in caught.value.suggestion


def test_practice_without_an_exchange_is_refused(tmp_path: Path) -> None:
    """Without practice.json the operator is told to start the exchange."""
    with pytest.raises(ConfigError) as caught:
        load_credentials("practice", tmp_path, {})
    assert "cstd practice" in caught.value.suggestion


@pytest.mark.parametrize("name", ["rest", "ws_public", "ws_private", "ws_futures"])
def test_practice_talks_to_loopback_only(name: str, tmp_path: Path) -> None:
    """A practice.json that points anywhere else is refused, also where the address begins like loopback."""
    for address in ("https://api.kraken.com", "http://127.0.0.1.example.org:80", "ws://10.0.0.1:2/v2"):
        write(tmp_path, {**TOLD, name: address})
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1 only"):
            load_credentials("practice", tmp_path, {})


@pytest.mark.parametrize("content", ["{", "[]", '{"rest": 1}', '{"rest": "http://127.0.0.1:1"}'])
def test_broken_practice_file_is_refused(content: str, tmp_path: Path) -> None:
    """A practice.json that is not what the exchange writes is a configuration error, not a traceback."""
    (tmp_path / "practice.json").write_text(content)
    (tmp_path / "practice.json").chmod(0o600)
    with pytest.raises(ConfigError, match="not what"):
        load_credentials("practice", tmp_path, {})


def test_paper_reads_no_key(tmp_path: Path) -> None:
    """paper has no key, also when the environment offers one, and says so."""
    credentials = load_credentials("paper", tmp_path, KEYS)
    assert (credentials.api_key, credentials.api_secret) == ("", "")
    assert credentials.notes == ("mode paper ignores KRAKEN_API_KEY, KRAKEN_API_SECRET",)
    assert load_credentials("paper", tmp_path, {}).notes == ()


def test_live_goes_to_kraken_over_tls_whatever_lies_in_the_run_directory(tmp_path: Path) -> None:
    """live never follows practice.json: the mode fixes the endpoints."""
    write(tmp_path, TOLD)
    endpoints = load_credentials("live", tmp_path, KEYS).endpoints
    assert (endpoints.rest, endpoints.ws_private) == ("https://api.kraken.com", "wss://ws-auth.kraken.com/v2")


def test_live_takes_the_alias_with_a_warning(tmp_path: Path) -> None:
    """KRAKEN_SECRET works and is remarked upon."""
    credentials = load_credentials("live", tmp_path, {"KRAKEN_API_KEY": "k", "KRAKEN_SECRET": SECRET})
    assert credentials.api_secret == SECRET
    assert "KRAKEN_API_SECRET" in credentials.notes[0]


def test_live_prefers_systemd_credentials(tmp_path: Path) -> None:
    """Files below CREDENTIALS_DIRECTORY win over the environment."""
    (tmp_path / "kraken_api_key").write_text("from systemd\n")
    (tmp_path / "kraken_api_secret").write_text(SECRET + "\n")
    credentials = load_credentials("live", tmp_path, {**KEYS, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (credentials.api_key, credentials.api_secret) == ("from systemd", SECRET)


def test_half_a_systemd_credential_is_refused(tmp_path: Path) -> None:
    """A key without its secret is an error that names the missing file."""
    (tmp_path / "kraken_api_key").write_text("k")
    with pytest.raises(ConfigError, match="kraken_api_secret"):
        load_credentials("live", tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_systemd_credentials_that_everybody_can_read_are_refused(tmp_path: Path) -> None:
    """In a directory that is open too; in one that is the service's alone, as systemd makes it, their mode does not matter."""
    directory = tmp_path / "credentials"
    directory.mkdir(mode=0o755)
    (directory / "kraken_api_key").write_text("from systemd")
    (directory / "kraken_api_secret").write_text(SECRET)
    (directory / "kraken_api_secret").chmod(0o444)
    (directory / "kraken_api_key").chmod(0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(directory)}
    with pytest.raises(ConfigError, match="kraken_api_secret: can be read by everybody") as caught:
        load_credentials("live", tmp_path, environ)
    assert "chmod o-r" in caught.value.suggestion and SECRET not in caught.value.message
    directory.chmod(0o700)
    assert load_credentials("live", tmp_path, environ).api_secret == SECRET


@pytest.mark.parametrize(("environ", "missing"), [
    ({}, {"KRAKEN_API_KEY", "KRAKEN_API_SECRET"}),
    ({"KRAKEN_API_KEY": "k"}, {"KRAKEN_API_SECRET"}),
    ({"KRAKEN_API_SECRET": SECRET}, {"KRAKEN_API_KEY"}),
    ({"KRAKEN_API_KEY": "k", "KRAKEN_API_SECRET": "not base64!"}, {"KRAKEN_API_SECRET"}),
])
def test_live_without_usable_keys_is_refused(environ: dict[str, str], missing: set[str], tmp_path: Path) -> None:
    """Each missing or malformed key is named; its value is not shown."""
    with pytest.raises(ConfigError) as caught:
        load_credentials("live", tmp_path, environ)
    assert {p.key for p in caught.value.problems} == missing
    assert "not base64!" not in caught.value.message


def test_secret_is_not_in_the_repr(tmp_path: Path) -> None:
    """A logged Credentials shows neither key nor secret."""
    text = repr(load_credentials("live", tmp_path, KEYS))
    assert SECRET not in text
    assert "a key" not in text


def test_practice_starts() -> None:
    """Nothing stands in the way of practice."""
    assert refusals(load([str(template("practice"))], {}), {}) == []


def test_paper_starts() -> None:
    """paper as shipped needs nothing: without a model the ensemble trades nothing, and says so."""
    assert refusals(load([str(template("paper"))], {}), {}) == []


def test_live_is_refused_without_keys_and_without_the_operators_word() -> None:
    """live needs keys and account.exclusive, and no more."""
    config = load([str(template("live"))], {})
    assert {p.key for p in refusals(config, {})} == {"account.exclusive", *KEYS}
    confirmed = load([str(template("live"))], {"CSTD__ACCOUNT__EXCLUSIVE": "true"})
    assert refusals(confirmed, KEYS) == []
