"""Text: package docstrings, what may not be named anywhere, and names in the README that must exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from cstd.cli.parser import VERBS

HEADINGS = ("Purpose:", "Takes:", "Gives:", "Owns:", "Invariants:", "Fails by:", "Try it:")
# Paths of the machine something was built on, hosts of package registries, references to a tracker.
BANNED = {
    "a machine's path": re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/"),
    "a registry's host": re.compile(r"pythonhosted\.org|pypi\.org|/simple/|index-url", re.IGNORECASE),
    "an issue number": re.compile(r"\bissue #?\d+\b|(?<![&\w/])#\d{1,4}\b(?!\d)", re.IGNORECASE),
    "a task left open": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
}
# Files whose text is data: lock files are hashes, these tests name what they forbid.
DATA = ("requirements/", "tests/", "LICENSE", "cstd/practice/flow_params.json", "cstd/ops/page/")


def tracked(repository: Path) -> list[Path]:
    """Return the tracked text files, or all source files where this is no git checkout."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0") if done.returncode == 0 else [str(p.relative_to(repository)) for p in
                                                                   (repository / "cstd").rglob("*.p*")]
    return [repository / name for name in names if name and (repository / name).is_file()]


def test_packages_explain_themselves(repository: Path) -> None:
    """Each package's docstring has the seven headings, in order."""
    for path in sorted((repository / "cstd").rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        places = [text.find(heading) for heading in HEADINGS]
        assert -1 not in places, f"{path.relative_to(repository)} lacks {HEADINGS[places.index(-1)]}"
        assert places == sorted(places), path


def test_modules_say_their_purpose(repository: Path) -> None:
    """Each Python and Cython module begins with a docstring."""
    for path in sorted((repository / "cstd").rglob("*.py*")):
        if path.suffix in (".py", ".pyx"):
            text = re.sub(r"^(#.*\n|\s*\n)*", "", path.read_text("utf-8"))
            assert text.startswith(('"""', 'r"""')), path.relative_to(repository)


@pytest.mark.parametrize("what", BANNED)
def test_nothing_names(what: str, repository: Path) -> None:
    """No tracked file names a machine's path, a registry, a tracker's number or a task left open."""
    found = []
    for path in tracked(repository):
        name = str(path.relative_to(repository))
        if name.startswith(DATA) or path.suffix in (".svg", ".png", ".onnx"):
            continue
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if BANNED[what].search(line) and not re.search(r"#[0-9a-fA-F]{3,8}\b.*;", line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


def test_locks_name_no_address(repository: Path) -> None:
    """Lock files hold names, versions and hashes; each package has a hash."""
    for path in sorted((repository / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text
        packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert all(line.endswith("\\") for line in packages), path


def test_readme_links_exist(repository: Path) -> None:
    """Every file that the README links to exists."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (repository / "README.md").read_text("utf-8"))
    assert links
    assert [link for link in links if not (repository / link).exists()] == []


def test_readme_commands_exist(repository: Path) -> None:
    """Every `cstd` verb and make target that the README names exists."""
    text = (repository / "README.md").read_text("utf-8")
    verbs = {" ".join(verb.words) for verb in VERBS}
    named = {" ".join(match) for match in re.findall(r"`(?:\.venv/bin/)?cstd ([a-z][a-z-]*)(?: ([a-z]+))?", text)}
    for words in named:
        assert words.strip() in verbs or words.split()[0] in verbs, words
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_readme_names_exist(repository: Path) -> None:
    """Every `function` that follows a link to a source file in the README is in that file."""
    text = (repository / "README.md").read_text("utf-8")
    walk = re.findall(r"\]\(([\w./]+\.(?:py|pyx|pxd|h|c))\)((?:,? `\w+`)+)", text)
    assert walk
    missing = [(link, name) for link, names in walk for name in re.findall(r"`(\w+)`", names)
               if not re.search(rf"\b{name}\b", (repository / link).read_text("utf-8"))]
    assert missing == []
