"""`cstd completion`: the three scripts say what the parser takes, asked of real shells where they are installed."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest

from cstd.cli.app import main
from cstd.cli.completion import SCRIPTS, Form, forms
from cstd.cli.parser import SHELLS, VERBS, parser_of
from cstd.practice.app import options_parser
from tests import needs

TABLE = forms()


def parser(form: Form) -> argparse.ArgumentParser:
    """The parser that `cstd` uses for a verb."""
    verb = next(verb for verb in VERBS if verb.words == form.words)
    return options_parser() if form.words == ("practice",) else parser_of(verb)


def script(shell: str, tmp_path: Path) -> Path:
    """A shell's script in a file."""
    path = tmp_path / f"completion.{shell}"
    path.write_text(SCRIPTS[shell](TABLE))
    return path


def bash_offers(tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last word, by the script's own function."""
    line = " ".join(f"'{word}'" for word in words)
    program = (f"source {script('bash', tmp_path)}; compopt() {{ :; }}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _cstd; "
               'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run([needs.program("bash"), "--norc", "-c", program], capture_output=True, text=True, check=True,
                          cwd=tmp_path)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_table_is_the_parsers() -> None:
    """Each verb that is listed, and each of its options with its choices; nothing else."""
    assert {form.words for form in TABLE} == {verb.words for verb in VERBS if not verb.hidden}
    for form in TABLE:
        wanted = {tuple(action.option_strings): tuple(action.choices or ()) for action in parser(form)._actions
                  if action.option_strings}
        assert {option.flags: option.choices for option in form.options} == wanted, form.words


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_word(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`cstd completion SHELL` prints it: every verb and every long option is in it, and its help tells where to put it."""
    assert main(["completion", shell]) == 0
    told = capsys.readouterr().out
    assert told == SCRIPTS[shell](TABLE)
    for form in TABLE:
        assert form.words[-1] in told
        for option in form.options:
            for flag in option.flags:
                as_fish = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                assert (as_fish if shell == "fish" else flag) in told
    assert main(["completion", "--help"]) == 0
    assert f"cstd completion {shell} >" in capsys.readouterr().out


@pytest.mark.parametrize("form", TABLE, ids=[" ".join(form.words) for form in TABLE])
def test_bash_offers_what_the_parser_takes(form: Form, tmp_path: Path) -> None:
    """After a verb and a dash: all of its options; after an option with choices: those."""
    flags = {flag for action in parser(form)._actions for flag in action.option_strings}
    assert set(bash_offers(tmp_path, "cstd", *form.words, "-")) == flags
    for option in form.options:
        if option.choices:
            assert set(bash_offers(tmp_path, "cstd", *form.words, option.flags[0], "")) == set(option.choices)


def test_bash_offers_verbs_files_and_names(tmp_path: Path) -> None:
    """First words, second words of a family, files where one is wanted, directories where one is, and nothing for a number."""
    (tmp_path / "my.toml").write_text("")
    (tmp_path / "folder").mkdir()
    assert set(bash_offers(tmp_path, "cstd", "")) == {form.words[0] for form in TABLE}
    assert bash_offers(tmp_path, "cstd", "stat") == ["statement", "status"]
    assert bash_offers(tmp_path, "cstd", "journal", "") == ["verify", "show", "checkpoint"]
    assert bash_offers(tmp_path, "cstd", "run", "-c", "my") == ["my.toml"]
    assert "my.toml" not in bash_offers(tmp_path, "cstd", "status", "--run-dir", "") and bash_offers(
        tmp_path, "cstd", "status", "--run-dir", "fol") == ["folder"]
    assert bash_offers(tmp_path, "cstd", "bench", "--frames", "") == []
    assert "journal-verify" in bash_offers(tmp_path, "cstd", "schema", "jour")
    assert bash_offers(tmp_path, "cstd", "completion", "") == list(SHELLS)


def test_fish_offers_the_same(tmp_path: Path) -> None:
    """First words, second words, options with what they do, choices."""
    def offers(line: str) -> dict[str, str]:
        done = subprocess.run([needs.program("fish"), "-N", "-c", f"source {script('fish', tmp_path)}; complete -C '{line}'"],
                              capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stderr == ""
        return {word: gives for word, _, gives in (row.partition("\t") for row in done.stdout.splitlines())}

    assert set(offers("cstd ")) == {form.words[0] for form in TABLE}
    assert set(offers("cstd config ")) == {"check", "show"}
    flags = {flag for form in TABLE if form.words == ("config", "check") for option in form.options for flag in option.flags}
    assert set(offers("cstd config check -")) == flags
    assert "what to print" in offers("cstd config check --ou")["--output"]
    assert set(offers("cstd why -o ")) == {"json", "table"}


def test_zsh_takes_its_script(tmp_path: Path) -> None:
    """It parses, and its function can be loaded."""
    path = script("zsh", tmp_path)
    loads = f"autoload -U compinit; compinit -u -D; source {path}; whence -w _cstd"
    done = subprocess.run([needs.program("zsh"), "-f", "-c", loads],
                          capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("_cstd: function", "")
