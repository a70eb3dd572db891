"""What `cstd doctor` asks of the installation: Python, packages, compiled code, trust, ports, service manager, keys, GPU.

No key is read further than it takes to say whether it is one, and none is ever shown.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import ssl
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import cstd
from cstd.cli.host_checks import OK, PROBLEM, WARNING, Check, Surroundings, looking
from cstd.config import load_credentials, template
from cstd.config.credentials import PRACTICE_FILE, open_to_everybody
from cstd.config.problems import problems_of
from cstd.errors import ConfigError, CstdError
from cstd.storage.run_dir import DATABASE_FILE, JOURNAL_DIR, NONCE_FILE

PYTHON_MIN, PYTHON_TESTED = (3, 11), (3, 13)
KEYS = ("KRAKEN_API_KEY", "KRAKEN_API_SECRET", "KRAKEN_SECRET")
# Kraken's documents, books guide: the top ten of BTC/USD and their checksum. Raw prices (one decimal) and quantities (eight).
BIDS = ((452835, 10000000), (452834, 154582015), (452821, 10000000), (452810, 10000000), (452803, 154592586),
        (452790, 7990000), (452776, 3310103), (452775, 30000000), (452773, 154602737), (452766, 15445238))
ASKS = ((452852, 100000), (452864, 154571953), (452866, 154571109), (452896, 154560911), (452902, 15890660),
        (452918, 154553491), (452947, 4454749), (452961, 35380000), (452975, 9945542), (452995, 18772827))
CHECKSUM = 3310070434
MESSAGE = bytes(i * 7 & 255 for i in range(1_000))


def all_checks(on: Surroundings) -> Iterator[Check]:
    """Yield every check of the installation."""
    yield python()
    yield packages()
    yield compiled()
    yield agents()
    yield from looking("TLS trust", lambda: [trust(on)])
    yield from looking("ports", lambda: ports(on))
    yield from looking("systemd", lambda: [service_manager(on)])
    yield from looking("keys", lambda: keys(on))
    yield from looking("file modes", lambda: file_modes(on))
    yield gpu(on)


def python() -> Check:
    """Return the interpreter."""
    version = sys.version_info[:2]
    found = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if version < PYTHON_MIN:
        return Check("Python", PROBLEM, found, "3.11 or newer is needed", "make PYTHON=python3.11")
    if version > PYTHON_TESTED:
        return Check("Python", WARNING, found, "newer than what cstd is tested with", "3.11 to 3.13")
    return Check("Python", OK, found, f"cstd {cstd.__version__}")


def packages() -> Check:
    """Return whether what cstd needs is installed in versions that it takes."""
    wrong, count = [], 0
    for line in importlib.metadata.requires("cstd") or ():
        requirement, _, marker = line.partition(";")
        if "extra" in marker:
            continue
        count += 1
        name = re.match(r"[\w.-]+", requirement)[0]  # type: ignore[index]
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if not accepts(requirement[len(name):].strip(), version):
            wrong.append(f"{name} {version}, wanted {requirement[len(name):].strip()}")
    if wrong:
        return Check("packages", PROBLEM, "; ".join(wrong), "the daemon may not start, or behave otherwise than it was tested",
                     "`make build`, or install requirements/run.txt")
    return Check("packages", OK, f"{count} packages", "all in versions that cstd takes")


def accepts(wanted: str, version: str) -> bool:
    """Return whether a version is within bounds as pyproject.toml writes them: `>=3.14,<3.15`, `==2.3.1`."""
    def numbers(text: str) -> tuple[int, ...]:
        parts = [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", text)[0])]
        return (*parts, 0, 0, 0)[:4]

    have = numbers(version)
    for bound in filter(None, wanted.split(",")):
        parts = re.fullmatch(r"(>=|==|<)([\w.]+)", bound.strip())
        assert parts is not None, f"{bound} is none of the bounds that are understood here"
        want = numbers(parts[2])
        if not {">=": have >= want, "==": have == want, "<": have < want}[parts[1]]:
            return False
    return True


def compiled() -> Check:
    """Return whether every compiled module is there and computes what it should."""
    root = Path(cstd.__file__).parent
    names = [".".join(("cstd", *path.relative_to(root).with_suffix("").parts)) for path in sorted(root.rglob("*.pyx"))]
    todo = "`make build`"
    try:
        for name in names:
            importlib.import_module(name)
    except ImportError as error:
        return Check("compiled core", PROBLEM, str(error), "the daemon does not start", todo)
    wrong = self_test()
    if wrong:
        return Check("compiled core", PROBLEM, f"wrong here: {', '.join(wrong)}", "nothing may be traded on it",
                     f"{todo} on this host; see `make test`")
    from cstd._fast.book import clmul_in_use
    from cstd._fast.journal_scan import sha256_backend

    ways = f"CRC-32 by {'CLMUL' if clmul_in_use() else 'tables'}, SHA-256 by {sha256_backend()}"
    return Check("compiled core", OK, f"{len(names)} modules; {ways}",
                 "a book with its documented checksum, CRC-32, SHA-256 and raw numbers come out right")


def self_test() -> list[str]:
    """Return what the compiled core computes wrongly here, [] for nothing."""
    from cstd._fast import journal_scan
    from cstd._fast.book import Book, crc32

    book = Book(10)
    fault = book.apply_levels(True, list(BIDS), list(ASKS), CHECKSUM, 1)
    damaged = Book(10)
    seen = damaged.apply_levels(True, [(BIDS[0][0], BIDS[0][1] + 1), *BIDS[1:]], list(ASKS), CHECKSUM, 1)
    results = {
        "a book's checksum": fault == 0, "a damaged book's checksum": seen != 0,
        "CRC-32": crc32(MESSAGE) == zlib.crc32(MESSAGE),
        "SHA-256": journal_scan.sha256(MESSAGE) == hashlib.sha256(MESSAGE).digest(),
    }
    return [name for name, good in results.items() if not good]


def agents() -> Check:
    """Return whether the agents' shared object is the one its manifest names."""
    from cstd.signals.agents.loader import load

    try:
        found = load()
    except CstdError as error:
        return Check("agents", PROBLEM, error.message, "the daemon does not start", error.suggestion)
    return Check("agents", OK, f"{', '.join(found.names)}, {found.sha256[:16]}", "as they were built, tested and hashed")


def trust(on: Surroundings) -> Check:
    """Return whom TLS to the venue would trust."""
    from cstd.venue.trust import tls_context

    named = on.environ.get("SSL_CERT_FILE") or on.environ.get("SSL_CERT_DIR")
    paths = ssl.get_default_verify_paths()
    means = "certificates of the venue are checked, and nothing can switch that off"
    todo = "install ca-certificates, or name a file with SSL_CERT_FILE"
    if named and not Path(named).exists():
        return Check("TLS trust", PROBLEM, f"{named} is not there (SSL_CERT_FILE, SSL_CERT_DIR)", means, todo)
    try:
        count = tls_context().cert_store_stats()["x509_ca"]
    except (OSError, ssl.SSLError) as error:
        return Check("TLS trust", PROBLEM, f"the authorities cannot be read: {error}", means, todo)
    folder = Path(paths.capath) if paths.capath else None
    if count == 0 and not (folder is not None and folder.is_dir() and any(folder.iterdir())):
        return Check("TLS trust", PROBLEM if on.is_real else WARNING, f"no authorities ({ssl.OPENSSL_VERSION})",
                     "no connection to the venue can be made", todo)
    where = named or paths.cafile or paths.capath
    return Check("TLS trust", OK, f"authorities: {count or 'a folder'}, {where}, {ssl.OPENSSL_VERSION}", means)


def ports(on: Surroundings) -> Iterator[Check]:
    """Yield whether the configured ports are free, or are those of the session that runs in this run directory."""
    from cstd.errors import OperatorError
    from cstd.ops.reader import bind, parse_address
    from cstd.storage.journal_files import is_being_written

    wanted = [("status.listen" if not at else f"status.extra_listen[{at - 1}]", address)
              for at, address in enumerate([on.cfg.status.listen, *on.cfg.status.extra_listen])]
    if on.cfg.practice is not None:
        wanted += [(f"practice.{name}", f"127.0.0.1:{port}") for name in on.cfg.practice.__struct_fields__
                   if (port := getattr(on.cfg.practice, name))]
    for key, address in wanted:
        host, port = parse_address(address)
        if port == 0:
            yield Check(f"port {key}", OK, f"{address}: any free one", "reader.json in the run directory tells which")
            continue
        try:
            bind(host, port).close()
        except OperatorError as error:
            if is_being_written(on.run_dir / JOURNAL_DIR) and port in _ports_of(on.run_dir):
                yield Check(f"port {key}", OK, f"{address} is served by the session in {on.run_dir}", "as configured")
                continue
            if key.startswith("status."):
                means = "there will be no page, no metrics and no API; trading does not need them"
            else:
                means = "the practice exchange does not start"
            yield Check(f"port {key}", PROBLEM, error.message, means, error.suggestion)
        else:
            yield Check(f"port {key}", OK, f"{address} is free", "on loopback alone")


def _ports_of(run_dir: Path) -> set[int]:
    """Return the ports of a session: what its reader and its exchange wrote down."""
    texts: list[str] = []
    for name in ("reader.json", PRACTICE_FILE):
        try:
            told = json.loads((run_dir / name).read_bytes())
            texts += told["addresses"] if name == "reader.json" else [told[key] for key in ("rest", "ws_public", "ws_private",
                                                                                           "ws_futures")]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {int(match[1]) for text in texts if (match := re.search(r":(\d+)(?:/|$)", str(text)))}


def service_manager(on: Surroundings) -> Check:
    """Return whether something starts the daemon again."""
    running = (on.root / "run/systemd/system").is_dir()
    notified = " and takes this process's notices (NOTIFY_SOCKET)" if on.environ.get("NOTIFY_SOCKET") else ""
    if running:
        return Check("systemd", OK, f"runs{notified}", "deploy/systemd/cstd.service restarts the daemon and watches its progress")
    return Check("systemd", WARNING if on.is_real else OK, "does not run here",
                 "nothing starts the daemon again after a crash; `make run` does it for a practice session",
                 "a supervisor that restarts on every exit code but 0 and 78" if on.is_real else "")


def keys(on: Surroundings) -> Iterator[Check]:
    """Yield whether the mode has the key that it needs; never the key."""
    named = [name for name in KEYS if on.environ.get(name)]
    directory = on.environ.get("CREDENTIALS_DIRECTORY")
    where = "systemd credentials" if directory and (Path(directory) / "kraken_api_key").exists() else ", ".join(named)
    if on.cfg.mode == "paper":
        yield Check("keys", OK, "none needed", "paper reads no key" + (f", {where} is ignored" if where else ""))
        return
    if on.cfg.mode == "practice" and not (on.run_dir / PRACTICE_FILE).exists():
        yield Check("keys", OK, f"no practice exchange in {on.run_dir} yet",
                    "`make run` or `cstd practice` makes a throw-away key")
        return
    try:
        found = load_credentials(on.cfg.mode, on.run_dir, on.environ)
        from cstd.venue.http import Credentials

        Credentials(found.api_key, found.api_secret)
    except ConfigError as error:
        for problem in problems_of(error):
            yield Check("keys", PROBLEM, f"{problem.key}: {problem.reason}", "the daemon does not start", problem.suggestion)
        return
    except ValueError as error:
        yield Check("keys", PROBLEM, str(error), "the daemon does not start", "copy it again from Kraken")
        return
    if on.cfg.mode == "practice":
        note = f"; {found.notes[0]}" if found.notes else ""
        yield Check("keys", OK, f"the practice exchange's, in {on.run_dir / PRACTICE_FILE}{note}", "good for that exchange alone")
        return
    for note in found.notes:
        yield Check("keys", WARNING, note, "the alias may go", "KRAKEN_API_SECRET")
    yield Check("keys", OK, f"there, from {where}",
                "the venue is asked for its rights at each start: one that may withdraw is refused")


def file_modes(on: Surroundings) -> Iterator[Check]:
    """Yield who else can read what is secret, or write what the daemon obeys."""
    from cstd.storage.journal_signature import KEY_NAME

    state = (on.run_dir / JOURNAL_DIR).resolve().parent
    secret = [on.run_dir / PRACTICE_FILE, on.run_dir / NONCE_FILE, state / KEY_NAME, state / DATABASE_FILE]
    directory = on.environ.get("CREDENTIALS_DIRECTORY")
    # systemd gives these to the service alone and sets their mode itself, which may let a group read them.
    systemd = [Path(directory) / name for name in ("kraken_api_key", "kraken_api_secret")] if directory else []
    obeyed = [on.run_dir, *(Path(name) for name in on.files or (str(template("practice")),))]
    wrong, looked = [], 0
    for paths, is_wrong, what, mode in ((secret, _open_to_others, "is open to others", "600"),
                                        (systemd, open_to_everybody, "is open to others", "400"),
                                        (obeyed, _writable_by_everybody, "can be changed by anybody", "o-w")):
        there = [path for path in paths if path.exists()]
        looked += len(there)
        wrong += [(path, what, mode) for path in there if is_wrong(path)]
    for path, what, mode in wrong:
        yield Check("file modes", PROBLEM, f"{path} {what} (mode {stat.S_IMODE(path.stat().st_mode):04o})",
                    "who can read a key can trade with it; who can write a limit can lift it", f"chmod {mode} {path}")
    if not wrong:
        yield Check("file modes", OK, f"{looked} files and directories",
                    "secrets are their owner's alone, limits are not for others to change")


def _open_to_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _writable_by_everybody(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IWOTH)


def gpu(on: Surroundings) -> Check:
    """Return whether there is a GPU and a runtime for it, as far as the configured scorer needs them."""
    scorer = on.cfg.scorer
    wanted = scorer.device if scorer is not None and scorer.enabled else ""
    driver = on.read("proc/driver/nvidia/version").splitlines()
    card = re.sub(r"\s+", " ", driver[0]).removeprefix("NVRM version: ") if driver else "no NVIDIA driver"
    runtimes = [f"{name} {importlib.metadata.version(name)}" for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    refuses = f"the scorer runs and scores nothing: scorer.device is {wanted}"
    means = f"scorer.device is {wanted}" if wanted else "not used: the scorer alone would, and it is not enabled"
    if len(runtimes) == 2:
        return Check("GPU", WARNING, f"{card}; {' and '.join(runtimes)}", "the two overwrite each other's files",
                     "remove one of them")
    if not runtimes:
        return Check("GPU", PROBLEM if wanted else OK, f"{card}; onnxruntime is not installed", refuses if wanted else means,
                     f"pip install 'cstd[{'gpu' if wanted == 'cuda' else 'cpu'}]'" if wanted else "")
    try:
        providers = importlib.import_module("onnxruntime").get_available_providers()
    except Exception as error:  # noqa: BLE001 -- whatever a broken runtime raises is the finding
        return Check("GPU", PROBLEM if wanted else WARNING, f"{card}; {runtimes[0]} cannot be loaded: {error}",
                     refuses if wanted else means, "install it again, or remove it")
    cuda = "CUDAExecutionProvider" in providers
    found = f"{card}; {runtimes[0]} {'with the CUDA provider' if cuda else 'without a CUDA provider'}"
    # The runtime names the provider that it was built with, driver or not; members on cuda are opened by their operators.
    needs = (("the CUDA provider", cuda), ("a driver", bool(driver)), ("onnx", _installed("onnx")))
    missing = [name for name, there in needs if not there]
    if wanted == "cuda" and missing:
        return Check("GPU", PROBLEM, f"{found}; missing: {', '.join(missing)}", refuses,
                     "install the driver and 'cstd[gpu]' in place of onnxruntime, or set scorer.device = \"cpu\"")
    return Check("GPU", OK, found, means)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
