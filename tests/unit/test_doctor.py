"""`cstd doctor`: each check's three outcomes, on hosts made of files; nothing of a key in what it says."""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cstd.cli import doctor, host_checks, install_checks
from cstd.cli.app import main
from cstd.cli.doctor import configuration
from cstd.cli.host_checks import OK, PROBLEM, STA_NANO, STA_UNSYNC, TIME_ERROR, WARNING, Check, ClockReading, Surroundings
from cstd.cli.install_checks import accepts
from cstd.cli.venue_check import Answered, ClockBounds
from cstd.config import Config, load, template
from cstd.config.schema import ScorerConfig
from cstd.errors import ConfigError
from cstd.storage.journal_files import lock_directory
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_MS, NS_PER_S

SECRET = "c2VjcmV0IGZvciB0ZXN0cw=="
LIVE_KEYS = {"KRAKEN_API_KEY": "abcdefghijklmnop", "KRAKEN_API_SECRET": SECRET}


def config(mode: str = "practice", **environ: str) -> Config:
    """A shipped configuration with overrides."""
    return load([str(template(mode))], environ)


def host(root: Path, cfg: Config | None = None, environ: Mapping[str, str] | None = None, **files: str) -> Surroundings:
    """A host made of files: `proc__cpuinfo="..."` is /proc/cpuinfo."""
    for name, content in files.items():
        path = root / "host" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Surroundings(cfg or config(), (), root / "run", environ or {}, root / "host")


def states(checks: list[Check]) -> list[str]:
    """The states of some checks."""
    return [check.state for check in checks]


def test_every_check_says_what_it_means_and_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """On this host: a finding and a meaning for each, a remedy where it is not ok."""
    main(["doctor", "--run-dir", str(tmp_path), "-o", "json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert len(checks) >= 24
    for check in checks:
        assert check["found"] and check["means"], check
        assert (check["state"] == OK) or check["todo"], check
    names = {check["name"] for check in checks}
    assert names >= {"clock", "CPU features", "CPU isolation", "CPU governor", "memory lock", "shared memory", "disk",
                     "open files", "Python", "packages", "compiled core", "TLS trust", "systemd", "keys", "file modes", "GPU"}


def test_text_has_a_line_for_each_and_exit_codes_follow_problems(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1 with a problem and 0 without; each check is a line that begins with its state."""
    monkeypatch.setattr(host_checks, "all_checks", lambda _on: [Check("a", OK, "x", "y"), Check("b", WARNING, "x", "y", "z")])
    monkeypatch.setattr(install_checks, "all_checks", lambda _on: [])
    assert main(["doctor", "--run-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "warning  b " in told and "do:    z" in told and "0 problems, 1 warnings" in told
    monkeypatch.setattr(install_checks, "all_checks", lambda _on: [Check("c", PROBLEM, "x", "y", "z")])
    assert main(["doctor", "--run-dir", str(tmp_path)]) == 1
    assert "problem  c " in capsys.readouterr().out


def test_a_wrong_configuration_is_a_problem_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    """Each finding is a line; the shipped file stands in. One that is refused at the start is a problem too."""
    path = tmp_path / "bad.toml"
    path.write_text(template("practice").read_text().replace("positions_max = 10 ", "positions_max = 0 "))
    cfg, found = configuration([str(path)])
    assert states(found) == [PROBLEM] and "risk.positions_max" in found[0].found
    assert cfg.mode == "practice"
    _, found = configuration([str(template("live"))])
    assert PROBLEM in states(found) and "account.exclusive" in " ".join(check.found for check in found)


def test_an_error_that_lists_nothing_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration, or a key, that is refused in one sentence is one line; it is not lost for want of a list."""
    def refuse(*_args: object) -> None:
        raise ConfigError("it is not right", suggestion="mend it")

    with monkeypatch.context() as patched:
        patched.setattr(doctor, "load", lambda files, *_environ: refuse() if files == ["x"] else config())
        _, (check,) = configuration(["x"])
    assert (check.state, check.todo) == (PROBLEM, "mend it") and "it is not right" in check.found
    monkeypatch.setattr(install_checks, "load_credentials", refuse)
    (check,) = install_checks.keys(host(tmp_path, config("live")))
    assert check.state == PROBLEM and "it is not right" in check.found


@pytest.mark.parametrize(("clock", "mode", "state", "part"), [
    (ClockReading(0, STA_NANO, 120_000, 3 * NS_PER_MS), "practice", OK, "+0.120 ms"),
    (ClockReading(0, STA_NANO, 0, 251 * NS_PER_MS), "practice", WARNING, "at most 251.0 ms"),
    (ClockReading(TIME_ERROR, STA_UNSYNC, 0, 16_000 * NS_PER_MS), "practice", WARNING, "not synchronised"),
    (ClockReading(TIME_ERROR, STA_UNSYNC, 0, 16_000 * NS_PER_MS), "live", PROBLEM, "not synchronised"),
    (ClockReading(-1, 0, 0, 0, "Function not implemented"), "live", WARNING, "does not tell"),
], ids=["kept", "kept badly", "not kept", "not kept, live", "a kernel that does not tell"])
def test_clock(clock: ClockReading, mode: str, state: str, part: str, tmp_path: Path) -> None:
    """The kernel's word on the clock, against risk.clock_offset_ms_max."""
    check = host_checks.clock_sync(clock, host(tmp_path, config(mode)))
    assert check.state == state and part in check.found and "250 ms" in check.means


def test_this_kernels_clock_is_read() -> None:
    """adjtimex answers, without changing anything."""
    assert host_checks.read_clock().state in (-1, 0, 1, 2, 3, 4, TIME_ERROR)


@pytest.mark.parametrize(("source", "state"), [("tsc", OK), ("hpet", WARNING), ("", WARNING)])
def test_clock_source(source: str, state: str, tmp_path: Path) -> None:
    """A clock source that is not read on the processor is a warning."""
    on = host(tmp_path, sys__devices__system__clocksource__clocksource0__current_clocksource=source)
    assert host_checks.clock_source(on).state == state


def test_cpu_features(tmp_path: Path) -> None:
    """What is missing is named with what it slows down."""
    whole = host(tmp_path / "a", proc__cpuinfo="flags\t\t: fpu sse4_1 pclmulqdq avx2 sha_ni\n")
    assert host_checks.cpu_features(whole).state == OK
    check = host_checks.cpu_features(host(tmp_path / "b", proc__cpuinfo="flags\t\t: fpu sse4_1 pclmulqdq avx2\n"))
    assert check.state == WARNING and "sha_ni (client order ids" in check.found


def test_cpus_that_are_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that may not be used is a problem, one that others use a warning, an isolated one is ok; polling wants one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    pinned = config(CSTD__PROCESS__CPUS="[2]")
    isolated = {"sys__devices__system__cpu__isolated": "2-3"}
    assert states(list(host_checks.cpus(host(tmp_path / "a", pinned, **isolated)))) == [OK, OK]
    assert states(list(host_checks.cpus(host(tmp_path / "b", pinned)))) == [OK, WARNING]
    assert states(list(host_checks.cpus(host(tmp_path / "c", config(CSTD__PROCESS__CPUS="[9]"))))) == [PROBLEM, WARNING]
    assert states(list(host_checks.cpus(host(tmp_path / "d")))) == [OK, OK]
    assert states(list(host_checks.cpus(host(tmp_path / "e", config(CSTD__PROCESS__BUSY_POLL="true"))))) == [OK, WARNING]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert states(list(host_checks.cpus(host(tmp_path / "f")))) == [WARNING, OK]


def test_governor_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A governor that lowers frequencies and a quota that throttles are warnings."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    slow = host(tmp_path / "a", sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="powersave")
    (tmp_path / "a/host/sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "a/host/sys/fs/cgroup/cpu.max").write_text("50000 100000")
    assert host_checks.governor(slow).state == WARNING and "powersave" in host_checks.governor(slow).found
    assert host_checks.cpu_quota(slow).state == WARNING and "50000 us in each 100000 us" in host_checks.cpu_quota(slow).found
    inner = host(tmp_path / "c", proc__self__cgroup="0::/a.slice/b.service\n")
    (tmp_path / "c/host/sys/fs/cgroup/a.slice/b.service").mkdir(parents=True)
    assert host_checks.cpu_quota(inner).state == OK
    (tmp_path / "c/host/sys/fs/cgroup/a.slice/cpu.max").write_text("20000 100000")
    assert "(/a.slice)" in host_checks.cpu_quota(inner).found
    fast = host(tmp_path / "b", sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="performance")
    assert (host_checks.governor(fast).state, host_checks.cpu_quota(fast).state) == (OK, OK)


def test_memory(tmp_path: Path) -> None:
    """More than there is: a problem; more than half: a warning."""
    on = host(tmp_path)
    need = sum(host_checks.memory_plan(on.cfg).values())
    assert [host_checks.memory(on, size).state for size in (need // 2, need * 3 // 2, need * 4)] == [PROBLEM, WARNING, OK]


def test_memory_lock(tmp_path: Path) -> None:
    """A limit below what is wanted is a warning, unless the process is privileged or locking is off."""
    plain = host(tmp_path / "a", proc__self__status="CapEff:\t0000000000000000\n")
    privileged = host(tmp_path / "b", proc__self__status="CapEff:\t0000000000004000\n")
    off = host(tmp_path / "c", config(CSTD__PROCESS__LOCK_MEMORY="false"), proc__self__status="CapEff:\t0\n")
    assert [host_checks.memory_lock(on, 8 << 20).state for on in (plain, privileged, off)] == [WARNING, OK, OK]
    assert host_checks.memory_lock(plain, -1).state == OK  # RLIM_INFINITY


@pytest.mark.parametrize(("limit", "state"), [(128, PROBLEM), (512, WARNING), (1024, OK), (-1, OK)])
def test_open_files(limit: int, state: str) -> None:
    """Below 256 a problem, below 1024 a warning."""
    assert host_checks.open_files(limit).state == state


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the floor: a problem; less than a day of journal: a warning; in memory: a warning; not writable: a problem."""
    def free(left: int) -> None:
        usage = host_checks.shutil.disk_usage(tmp_path)
        monkeypatch.setattr(host_checks.shutil, "disk_usage", lambda _path: usage._replace(free=left))

    on = host(tmp_path, proc__self__mounts="/dev/sda1 / ext4 rw 0 0\n")
    found = []
    for left in (500 << 20, 600 << 20, 1 << 45):
        with monkeypatch.context():
            free(left)
            found.append(states(list(host_checks.disk(on))))
    assert found == [[OK, PROBLEM], [OK, WARNING], [OK, OK]]
    in_memory = host(tmp_path / "x", proc__self__mounts=f"/dev/sda1 / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")
    assert states(list(host_checks.disk(in_memory)))[0] == WARNING
    monkeypatch.setattr(os, "access", lambda *_args: False)
    assert states(list(host_checks.disk(on)))[0] == PROBLEM


def test_a_ring_that_does_not_fit_into_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon would not start."""
    usage = host_checks.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(host_checks.shutil, "disk_usage", lambda _path: usage._replace(free=(64 << 20) - 1))
    assert host_checks.ring(host(tmp_path)).state == PROBLEM
    monkeypatch.setattr(host_checks.shutil, "disk_usage", lambda _path: usage._replace(free=64 << 20))
    assert host_checks.ring(host(tmp_path)).state == OK


@pytest.mark.parametrize(("wanted", "version", "good"), [
    (">=3.14,<3.15", "3.14.2", True), (">=3.14,<3.15", "3.15.0", False), (">=3.14,<3.15", "3.13.9", False),
    ("==2.3.1", "2.3.1", True), ("==2.3.1", "2.3.2", False), (">=45", "45.0.0", True), (">=45", "44.9", False), ("", "1", True),
    (">=0.22,<0.23", "0.22.0rc1", True),
])
def test_versions(wanted: str, version: str, good: bool) -> None:
    """Bounds as pyproject.toml writes them."""
    assert accepts(wanted, version) is good


def test_every_bound_of_pyproject_is_one_that_is_understood(repository: Path) -> None:
    """Those that the project writes are; one that would be judged wrongly, such as ~=, is no bound here."""
    for line in tomllib.loads((repository / "pyproject.toml").read_text())["project"]["dependencies"]:
        accepts(re.sub(r"^[\w.-]+", "", line), "1")
    with pytest.raises(AssertionError, match=r"~=1\.4 is none of the bounds"):
        accepts("~=1.4", "2.0")


def test_a_package_that_is_missing_or_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, with what is wanted; extras are not looked at."""
    monkeypatch.setattr(install_checks.importlib.metadata, "requires",
                        lambda _name: ["no-such-package>=1", "msgspec>=99", "orjson>=3", 'torch>=2; extra == "train"'])
    check = install_checks.packages()
    assert check.state == PROBLEM
    assert "no-such-package is missing" in check.found and "msgspec" in check.found
    assert "orjson" not in check.found and "torch" not in check.found


def test_a_core_that_computes_wrongly_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is right; with another expectation each of the four known answers is seen to be wrong."""
    assert install_checks.compiled().state == OK
    monkeypatch.setattr(install_checks, "CHECKSUM", install_checks.CHECKSUM + 1)
    assert install_checks.self_test() == ["a book's checksum"]
    assert install_checks.compiled().state == PROBLEM
    monkeypatch.setattr(install_checks.zlib, "crc32", lambda _data: 0)
    monkeypatch.setattr(install_checks.hashlib, "sha256", lambda _data: type("Digest", (), {"digest": lambda _self: b""})())
    assert set(install_checks.self_test()) >= {"CRC-32", "SHA-256"}


def test_trust(tmp_path: Path) -> None:
    """A file that is named and not there is a problem."""
    assert install_checks.trust(host(tmp_path, environ={"SSL_CERT_FILE": "/no/such.pem"})).state == PROBLEM


def test_ports(tmp_path: Path) -> None:
    """A port in use is a problem that names it, unless it is this session's own; 0 is any free one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        on = host(tmp_path, config(CSTD__STATUS__LISTEN=f"127.0.0.1:{port}"))
        check = next(install_checks.ports(on))
        assert check.state == PROBLEM and str(port) in check.found
        (on.run_dir / JOURNAL_DIR).mkdir(parents=True)
        (on.run_dir / "reader.json").write_text(json.dumps({"pid": 1, "page": "", "addresses": [f"http://127.0.0.1:{port}"]}))
        assert next(install_checks.ports(on)).state == PROBLEM  # what a session left behind that is no more
        with lock_directory(on.run_dir / JOURNAL_DIR):
            check = next(install_checks.ports(on))
            assert check.state == OK and "is served by the session" in check.found
    assert next(install_checks.ports(on)).found.endswith("is free")  # whatever was left behind
    assert next(install_checks.ports(host(tmp_path, config(CSTD__STATUS__LISTEN="127.0.0.1:0")))).state == OK


def test_service_manager(tmp_path: Path) -> None:
    """Missing, it matters where money is at stake."""
    assert install_checks.service_manager(host(tmp_path)).state == OK
    assert install_checks.service_manager(host(tmp_path, config("live"))).state == WARNING
    (tmp_path / "host/run/systemd/system").mkdir(parents=True)
    assert install_checks.service_manager(host(tmp_path, config("live"), {"NOTIFY_SOCKET": "/x"})).state == OK


@pytest.mark.parametrize(("environ", "expected"), [
    (LIVE_KEYS, [OK]), ({}, [PROBLEM, PROBLEM]), ({"KRAKEN_API_KEY": "abcdefghijkl"}, [PROBLEM]),
    ({"KRAKEN_API_KEY": "abcdefghijkl", "KRAKEN_SECRET": SECRET}, [WARNING, OK]),
    ({**LIVE_KEYS, "KRAKEN_API_SECRET": "not base64!"}, [PROBLEM]), ({**LIVE_KEYS, "KRAKEN_API_KEY": "with blank s"}, [PROBLEM]),
], ids=["both", "none", "no secret", "alias", "no base64", "no key"])
def test_keys_of_live(environ: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    """What is missing or malformed is a problem; nothing of a key is in any line."""
    found = list(install_checks.keys(host(tmp_path, config("live"), environ)))
    assert states(found) == expected
    assert not any(value in str(found) for value in environ.values())


def test_what_may_not_be_looked_at_is_a_problem_and_the_rest_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """A run directory behind one that this user may not enter: a line for each check that needs it, no traceback."""
    whole = os.stat

    def entered(path: str | os.PathLike[str] | int, **options: Any) -> os.stat_result:
        if not isinstance(path, int) and str(path).startswith(f"{tmp_path}/closed/"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, **options)

    monkeypatch.setattr(os, "stat", entered)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", f"{tmp_path}/closed/credentials")
    for words in (["--venue"], ["-c", str(template("live"))]):
        assert main(["doctor", *words, "--run-dir", str(tmp_path / "closed" / "run"), "-o", "json"]) == 1
        checks = json.loads(capsys.readouterr().out)["checks"]
        denied = {check["name"] for check in checks if "Permission denied" in check["found"]}
        assert denied >= {"shared memory", "run directory", "keys", "file modes"}
        assert {"open files", "GPU"} <= {check["name"] for check in checks}
        assert all(check["state"] == PROBLEM and check["todo"] for check in checks if check["name"] in denied)


def test_modes_of_files(tmp_path: Path) -> None:
    """A secret that others can read, and a limit that anybody can write, are problems with the command that ends them."""
    on = host(tmp_path)
    on.run_dir.mkdir()
    key = on.run_dir / "practice.json"
    key.write_text("{}")
    key.chmod(0o600)
    assert states(list(install_checks.file_modes(on))) == [OK]
    key.chmod(0o640)
    found = list(install_checks.file_modes(on))
    assert states(found) == [PROBLEM] and found[0].todo == f"chmod 600 {key}"
    key.chmod(0o600)
    file = tmp_path / "mine.toml"
    file.write_text("")
    file.chmod(0o666)
    named = Surroundings(on.cfg, (str(file),), on.run_dir, {}, on.root)
    assert [check.todo for check in install_checks.file_modes(named)] == [f"chmod o-w {file}"]


def test_modes_of_systemd_credentials(tmp_path: Path) -> None:
    """systemd lets a group read them; what everybody can read is a problem."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    folder.chmod(0o755)
    key = folder / "kraken_api_key"
    key.write_text("k")
    on = host(tmp_path, environ={"CREDENTIALS_DIRECTORY": str(folder)})
    for mode, todo in ((0o440, ""), (0o444, f"chmod 400 {key}")):
        key.chmod(mode)
        assert [check.todo for check in install_checks.file_modes(on)] == [todo]
    folder.chmod(0o700)  # nobody else gets as far as the file
    assert states(list(install_checks.file_modes(on))) == [OK]


def test_a_gpu_is_judged_by_what_the_scorer_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scorer nothing of it matters; one on cuda needs a runtime with that provider, a driver and onnx; two are a
    warning.
    """
    def runtime(*names: str, providers: list[str]) -> None:
        monkeypatch.setattr(install_checks, "_installed", lambda name: name in names)
        monkeypatch.setattr(install_checks.importlib.metadata, "version", lambda _name: "1.23")
        loaded = type("Runtime", (), {"get_available_providers": staticmethod(lambda: providers)})
        monkeypatch.setattr(install_checks.importlib, "import_module", lambda _name: loaded)

    driver = host(tmp_path, proc__driver__nvidia__version="NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.1\nGCC\n")
    scorer = {device: ScorerConfig(enabled=True, device=device, models="models", name="hourly", age_s_max=60)
              for device in ("cpu", "cuda")}
    on = {device: replace(driver, cfg=msgspec.structs.replace(driver.cfg, scorer=config)) for device, config in scorer.items()}
    runtime("onnxruntime-gpu", "onnx", providers=["CUDAExecutionProvider"])
    check = install_checks.gpu(driver)
    assert check.state == OK and "550.1" in check.found and "with the CUDA provider" in check.found and "not used" in check.means
    assert [install_checks.gpu(on[device]).state for device in ("cpu", "cuda")] == [OK, OK]
    driverless = replace(on["cuda"], root=tmp_path / "none")
    assert "missing: a driver" in install_checks.gpu(driverless).found and install_checks.gpu(driverless).state == PROBLEM
    runtime("onnxruntime-gpu", providers=["CUDAExecutionProvider"])
    assert "missing: onnx" in install_checks.gpu(on["cuda"]).found and install_checks.gpu(on["cuda"]).state == PROBLEM
    runtime("onnxruntime", providers=["CPUExecutionProvider"])
    assert [install_checks.gpu(one).state for one in (driver, on["cpu"], on["cuda"])] == [OK, OK, PROBLEM]
    assert "cstd[gpu]" in install_checks.gpu(on["cuda"]).todo
    runtime(providers=[])
    assert [install_checks.gpu(one).state for one in (driver, on["cpu"], on["cuda"])] == [OK, PROBLEM, PROBLEM]
    runtime("onnxruntime", "onnxruntime-gpu", providers=[])
    assert install_checks.gpu(driver).state == WARNING


@pytest.mark.parametrize("offset_ms", [-300, -2, 0, 3, 499, 12_345])
def test_whole_seconds_bound_the_offset_to_milliseconds(offset_ms: int) -> None:
    """A venue that tells whole seconds, seven times at the moments asked for: its offset is inside 8 ms and a round trip."""
    bounds, wall_ns, round_trip_ns = ClockBounds(), 1_790_000_000_123_456_789, 5 * NS_PER_MS
    for _ in range(8):
        wall_ns = max(wall_ns, bounds.next_ask_ns(wall_ns, round_trip_ns))
        second_ns = (wall_ns + round_trip_ns // 2 + offset_ms * NS_PER_MS) // NS_PER_S * NS_PER_S
        bounds.learn(Answered(wall_ns, wall_ns + round_trip_ns, second_ns))
        wall_ns += round_trip_ns
    assert bounds.least_ns is not None and bounds.most_ns is not None
    assert bounds.least_ns <= offset_ms * NS_PER_MS <= bounds.most_ns
    assert bounds.most_ns - bounds.least_ns <= 8 * NS_PER_MS + round_trip_ns + NS_PER_MS


def test_venue_without_anybody_there_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No practice exchange, and one that does not answer: a problem with what to do, no traceback."""
    assert main(["doctor", "--venue", "--run-dir", str(tmp_path)]) == 1
    assert re.search(r"problem  venue .*there is no practice exchange", capsys.readouterr().out)
    path = tmp_path / "practice.json"
    path.write_text(json.dumps({"rest": "http://127.0.0.1:1", "ws_public": "ws://127.0.0.1:1", "ws_private": "ws://127.0.0.1:1",
                                "ws_futures": "ws://127.0.0.1:1", "api_key": "abcdefghij", "api_secret": SECRET}))
    path.chmod(0o600)
    assert main(["doctor", "--venue", "--run-dir", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"problem  venue .*127\.0\.0\.1:1", told) and SECRET not in told and "abcdefghij" not in told
