"""An environment of its own for each peer: the newest Python here that the peer takes, its lock installed by hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent.parent / "build" / "peers"
INSTALL_S_MAX = 900


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's script, and the Pythons that its newest releases take, best first."""

    name: str
    script: str
    pythons: tuple[str, ...] = ("3.13", "3.12", "3.11")


PEERS = {peer.name: peer for peer in (
    Peer("cryptofeed", "cryptofeed_book.py"),
    Peer("kraken_sdk", "kraken_sdk_book.py"),
    Peer("ccxt", "ccxt_book.py"),
    Peer("hummingbot", "hummingbot_book.py", ("3.12",)),
    Peer("nautilus", "nautilus_book.py"),
    Peer("order_book", "order_book_parts.py"),
    Peer("hftbacktest", "hftbacktest_depth.py"),
)}


class UnavailableError(Exception):
    """A peer cannot be measured here, with the reason."""


def interpreter(versions: tuple[str, ...]) -> str:
    """Path of the first of these Python versions that runs here; pyenv's are found where pyenv keeps them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in versions:
        kept = sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")), reverse=True)
        for candidate in filter(None, (sys.executable, shutil.which(f"python{version}"), *kept)):
            if _version(candidate) == version:
                return candidate
    raise UnavailableError(f"needs Python {' or '.join(versions)}, and there is none here")


def _version(path: str) -> str:
    try:
        return subprocess.run([path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True,
                              check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def ready(peer: Peer) -> Path:
    """Return the Python of the peer's environment, made first where it is missing or its lock changed."""
    lock = HERE / f"{peer.name}.txt"
    folder = BUILT / peer.name
    made_by = interpreter(peer.pythons)
    mark = hashlib.sha256(lock.read_bytes() + made_by.encode()).hexdigest()
    stamp, python = folder / ".installed", folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == mark:
        return python
    print(f"installing {peer.name} into {folder.relative_to(BUILT.parent.parent)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    _run([made_by, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes", "-r", str(lock)])
    stamp.write_text(mark)
    return python


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S_MAX)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"not installed within {INSTALL_S_MAX} s") from None
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"not installable: {reason(error.stderr)}") from None


def reason(stderr: str) -> str:
    """What a failed process said last, warnings left out."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["it said nothing"])[-1][:300]


if __name__ == "__main__":
    try:
        for named in sys.argv[1:]:
            print(ready(PEERS[named]))
    except KeyError as unknown:
        sys.exit(f"no peer {unknown}: {', '.join(PEERS)}")
    except UnavailableError as unavailable:
        sys.exit(str(unavailable))
