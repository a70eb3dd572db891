"""README and docs name what exists: links, commands with their options, make targets, modules, keys and metrics."""

from __future__ import annotations

import re
from pathlib import Path

import documents as docs
import pytest

PAGES = docs.documents()
IDS = [str(page.relative_to(docs.ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file of the repository, and its anchor to a heading."""
    assert docs.dead_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist(page: Path) -> None:
    """Every `cstd VERB --option`, make target and module that a page names exists."""
    wrong = [found for line in docs.code(page.read_text("utf-8"))
             for found in (*docs.wrong_commands(line), *docs.wrong_targets(line), *docs.wrong_modules(line),
                           *docs.wrong_arguments(line))]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_keys_and_metrics_exist(page: Path) -> None:
    """Every configuration key and every metric that a page names exists."""
    wrong = [found for span in docs.code(page.read_text("utf-8"))
             for found in (*docs.wrong_keys(span), *docs.wrong_metrics(span))]
    assert wrong == []


def test_no_page_is_lost() -> None:
    """A reader who begins with the README comes to every page of docs."""
    reached, new = set(), [docs.ROOT / "README.md"]
    while new:
        page = new.pop()
        if page not in reached:
            reached.add(page)
            links = re.findall(r"\]\(([^)\s#:]+\.md)", page.read_text("utf-8"))
            new += [target for target in ((page.parent / link).resolve() for link in links) if target.exists()]
    assert set(PAGES) <= reached


@pytest.mark.parametrize(("line", "wrong"), [
    ("cstd kill --yes", []), ("cstd kill --now", ["cstd kill --now"]), ("cstd config check -c FILE", []),
    ("cstd config chek", ["cstd config chek"]), (".venv/bin/cstd status -o json", []), ("cstd limitz", ["cstd limitz"]),
    ("cstd practice --run-dir DIR --fault-seed 7", []), ("cstd practice --fault 7", ["cstd practice --fault"]),
    ("cstd status, positions", []), ("cstd replay FILE… [--check]", []),
])
def test_a_command_that_does_not_exist_is_found(line: str, wrong: list[str]) -> None:
    """The reading of commands tells those that exist from those that do not."""
    assert docs.wrong_commands(line) == wrong


def test_a_key_and_a_metric_that_do_not_exist_are_found() -> None:
    """So do the readings of keys, metrics, targets and modules."""
    assert docs.wrong_keys("`risk.silence_s`, `risk.silent_s`") == ["risk.silent_s"]
    assert docs.wrong_metrics("cstd_fills_total, cstd_fils_total, cstd_stage_duration_seconds") == ["cstd_fils_total"]
    assert docs.wrong_targets("make prove && make proof") == ["proof"]
    assert docs.wrong_arguments("python -m tests.mutation --only x") == []
    assert docs.wrong_arguments("python -m tests.mutation --sole x") == ["tests.mutation --sole"]
    assert docs.wrong_arguments('make tail ARGS="--only gc --none"') == ["bench.tail --none"]
    assert docs.wrong_modules("python -m tests.mutation; python -m tests.mutations") == ["tests.mutations"]


def test_dead_links_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there, one outside of the repository, and a heading that neither this page nor the other has."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.setattr(docs, "ROOT", root)
    (tmp_path / "outside.md").write_text("# Outside\n")
    (root / "other.md").write_text("# A heading, of `cstd`\n")
    page = root / "page.md"
    page.write_text("# Here\n[1](other.md) [2](other.md#a-heading-of-cstd) [3](#here) [4](https://example.com/none.md#none)\n"
                    "[5](gone.md) [6](other.md#gone) [7](#nowhere) [8](../outside.md)\n```sh\n[9](fenced.md)\n```\n")
    assert docs.dead_links(page) == ["gone.md", "other.md#gone", "#nowhere", "../outside.md"]
