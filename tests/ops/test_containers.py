"""What is in deploy/container and deploy/kubernetes agrees with the program; no container is started here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cstd.cli.parser import find_verb, parser_of
from cstd.config import load
from cstd.config.credentials import _CREDENTIAL_KEY, _CREDENTIAL_SECRET
from cstd.ops.api import openapi_document

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINER, KUBERNETES = DEPLOY / "container", DEPLOY / "kubernetes"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
UNIT = (DEPLOY / "systemd" / "cstd.service").read_text()
LIVE = load([str(ROOT / "config" / "live.toml")], {})
HEALTH = ["cstd", "status", "--run-dir", "/run/cstd", "-o", "json"]
UID = 10001


def objects() -> dict[str, Any]:
    """Every object of the Kubernetes manifests by its kind."""
    found = [one for path in sorted(KUBERNETES.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    assert len({one["kind"] for one in found}) == len(found)
    return {one["kind"]: one for one in found}


POD = objects()["StatefulSet"]["spec"]["template"]["spec"]
(DAEMON,) = POD["containers"]


def instructions(name: str) -> list[str]:
    """The arguments of one kind of instruction of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def images() -> list[str]:
    """Every image that is named."""
    named = [line.split()[0] for line in instructions("FROM")]
    return [*named, *(service["image"] for service in COMPOSE["services"].values()), DAEMON["image"]]


def test_every_image_has_a_version() -> None:
    """None is the newest of the day; ours is this program's version."""
    for image in images():
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z0-9.-]+)?$", image), image
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert COMPOSE["services"]["daemon"]["image"] == DAEMON["image"] == f"cstd:{version[1]}"
    assert f"-t cstd:{version[1]} " in DOCKERFILE


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    """Each path of a COPY exists in the repository, and the ignore list lets it through."""
    admitted = {line[1:] for line in (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in instructions("COPY") if "--from=" not in line
              for word in line.split()[:-1] if not word.startswith("--")]
    assert len(copied) > 8
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(path == one or path.startswith(f"{one}/") for one in admitted), path
    assert {path for path in admitted if not (ROOT / path).exists()} == set()


def test_the_build_needs_no_more_than_is_copied(repository: Path) -> None:
    """What make, setup and the metadata name is among the copied."""
    copied = " ".join(instructions("COPY"))
    metadata = (repository / "pyproject.toml").read_text()
    for name in [*re.findall(r'"(config/\w+\.toml|LICENSE|README\.md)"', metadata), "setup.py", "Makefile", "requirements"]:
        assert name.split("/")[0] in copied, name
    assert "wheel" in re.findall(r"^(\w+):", (repository / "Makefile").read_text(), re.MULTILINE)


def test_the_daemon_is_nobody_and_writes_nowhere_else() -> None:
    """The same user in all three; a root that is read only; no capability, no new privileges; what it writes is mounted."""
    service = COMPOSE["services"]["daemon"]
    assert instructions("USER") == [service["user"]] == [f"{UID}:{UID}"]
    assert f"--uid {UID} " in DOCKERFILE and f"--gid {UID} " in DOCKERFILE
    for name, one in COMPOSE["services"].items():
        assert (one["cap_drop"], one["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
        assert one.get("read_only") or name == "grafana"
    assert (POD["securityContext"]["runAsNonRoot"], POD["securityContext"]["runAsUser"], POD["securityContext"]["fsGroup"]) == (
        True, UID, UID)
    assert DAEMON["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                         "capabilities": {"drop": ["ALL"]}}
    assert POD["automountServiceAccountToken"] is False
    written = {mount["mountPath"] for mount in DAEMON["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/run/cstd", "/var/lib/cstd", "/tmp"}
    assert {mount.split(":")[1] for mount in service["volumes"] if not mount.endswith(":ro")} == written - {"/tmp"}
    assert json.loads(instructions("VOLUME")[0]) == sorted(written - {"/tmp"}, reverse=True)
    names = {volume["name"] for volume in POD["volumes"]} | {
        claim["metadata"]["name"] for claim in objects()["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in DAEMON["volumeMounts"]} == names


def test_the_start_is_that_of_the_unit() -> None:
    """The journal is linked to the disk, and the words are the parser's; the configuration lies where it is mounted."""
    start = (CONTAINER / "start").read_text()
    assert "UMask=0027\n" in UNIT and start.index("umask 027") < start.index("mkdir")
    assert (CONTAINER / "start").stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", str(CONTAINER / "start")], check=False).returncode == 0
    for line in re.findall(r"^ExecStartPre=/bin/(.+)$", UNIT, re.MULTILINE):
        assert line.replace("%S/", "/var/lib/").replace("%t/", "/run/") in start
    words = ["run", *json.loads(instructions("CMD")[-1])]
    assert words[1:] == DAEMON["args"]
    parsed = parser_of(find_verb(words)).parse_args(words[1:])
    (config,) = parsed.config
    assert any(mount.split(":")[-2] == config for mount in COMPOSE["services"]["daemon"]["volumes"])
    assert any(config.startswith(f"{mount['mountPath']}/") for mount in DAEMON["volumeMounts"])
    assert 'exec cstd run "$@"' in start


def test_it_has_as_long_to_stop_as_under_systemd() -> None:
    """And as much memory to lock."""
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    service = COMPOSE["services"]["daemon"]
    assert service["stop_grace_period"] == f"{seconds}s"
    assert POD["terminationGracePeriodSeconds"] == int(seconds)
    assert (f"LimitMEMLOCK={service['ulimits']['memlock'] >> 30}G" in UNIT, service["ulimits"]["core"]) == (True, 0)


def test_probes_ask_what_there_is() -> None:
    """Alive is what the trading loop answers; ready is a path of the status port, at the configured address."""
    parser_of(find_verb(HEALTH[1:])).parse_args(HEALTH[2:])
    (healthcheck,) = instructions("HEALTHCHECK")
    assert json.loads(healthcheck.partition(" CMD ")[2]) == HEALTH
    assert DAEMON["startupProbe"]["exec"]["command"] == DAEMON["livenessProbe"]["exec"]["command"] == HEALTH
    program = DAEMON["readinessProbe"]["exec"]["command"][-1]
    compile(program, "probe", "exec")
    ((address, path),) = re.findall(r"http://([\d.:]+)(/\w+)", program)
    assert address == LIVE.status.listen
    assert path in openapi_document()["paths"]


def test_keys_are_files_of_their_own() -> None:
    """By the names that the daemon looks for, in the folder that it is told; none is in an environment or in an image."""
    wanted = {_CREDENTIAL_KEY, _CREDENTIAL_SECRET}
    service = COMPOSE["services"]["daemon"]
    assert set(service["secrets"]) == wanted <= COMPOSE["secrets"].keys()
    assert service["environment"]["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    (volume,) = [volume["secret"] for volume in POD["volumes"] if "secret" in volume]
    assert {item["path"] for item in volume["items"]} == wanted
    assert volume["defaultMode"] & 0o007 == 0
    (folder,) = [one["value"] for one in DAEMON["env"]]
    assert any(mount["mountPath"] == folder and mount["name"] == "kraken" for mount in DAEMON["volumeMounts"])
    assert "KRAKEN" not in DOCKERFILE + json.dumps(COMPOSE["services"])


def test_what_watches_finds_what_it_watches() -> None:
    """Mounted files exist; all listen on loopback, at the ports that the shipped files name."""
    prometheus, alertmanager, grafana = (COMPOSE["services"][name] for name in ("prometheus", "alertmanager", "grafana"))
    for service in (prometheus, alertmanager, grafana):
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert (CONTAINER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount
    shipped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert shipped["scrape_configs"][0]["static_configs"][0]["targets"] == [LIVE.status.listen]
    mounted = {Path(mount.split(":")[1]).name for mount in prometheus["volumes"]}
    assert set(shipped["rule_files"]) <= mounted
    (target,) = shipped["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert f"--web.listen-address={target}" in alertmanager["command"]
    source = yaml.safe_load((CONTAINER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert f"--web.listen-address={source['url'].removeprefix('http://')}" in prometheus["command"]
    assert grafana["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    provider = yaml.safe_load((CONTAINER / "grafana/provisioning/dashboards/cstd.yml").read_text())["providers"][0]
    folder = provider["options"]["path"]
    assert any(mount.split(":")[1].startswith(f"{folder}/") for mount in grafana["volumes"])
    assert all(service["network_mode"] == "host" and "ports" not in service for service in COMPOSE["services"].values())


def test_there_is_one_daemon_and_it_is_nobodys_to_evict() -> None:
    """One replica that only an operator replaces, its disk for one pod alone, labels that agree, and every file is applied."""
    found = objects()
    spec = found["StatefulSet"]["spec"]
    assert (spec["replicas"], spec["updateStrategy"]) == (1, {"type": "OnDelete"})
    assert spec["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0
    label = {"app.kubernetes.io/name": "cstd"}
    selectors = [spec["selector"]["matchLabels"], found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                 found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], found["Service"]["spec"]["selector"],
                 spec["template"]["metadata"]["labels"]]
    assert selectors == [label] * 5
    assert spec["serviceName"] == found["Service"]["metadata"]["name"]
    assert set(found["Kustomization"]["resources"]) == {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}


def test_nobody_comes_in_and_only_names_and_tls_go_out() -> None:
    """No ingress at all; egress is port 53, and 443 outside of private networks."""
    spec = objects()["NetworkPolicy"]["spec"]
    assert (sorted(spec["policyTypes"]), spec["ingress"]) == (["Egress", "Ingress"], [])
    names, world = spec["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in world["ports"]] == [443]
    assert all(block["ipBlock"]["except"] for block in world["to"])


def test_owners_own_what_is_there() -> None:
    """Each line of CODEOWNERS names a path that exists and a team."""
    lines = [line.split() for line in (ROOT / ".github" / "CODEOWNERS").read_text().splitlines() if not line.startswith("#")]
    assert lines[0][0] == "*"
    for path, *teams in lines:
        assert path == "*" or (ROOT / path.strip("/")).is_dir(), path
        assert teams and all(re.fullmatch(r"@[\w-]+/[\w-]+", team) for team in teams)


def test_before_a_commit_what_the_makefile_has_is_run() -> None:
    """Nothing is fetched from elsewhere, and each hook is a target of the Makefile."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for repository in config["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            make, target, *_ = hook["entry"].split()
            assert (make, target in targets, hook["pass_filenames"]) == ("make", True, False)


@pytest.mark.parametrize("path", sorted([*CONTAINER.rglob("*.y*ml"), *KUBERNETES.glob("*.yaml")]), ids=lambda path: path.name)
def test_no_key_stands_twice(path: Path) -> None:
    """YAML takes the last of two keys in silence."""
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{path.name}: {keys}"
        return {loader.construct_object(key): loader.construct_object(value, deep=True) for key, value in node.value}

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert list(yaml.load_all(path.read_text(), Strict))
