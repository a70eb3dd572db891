"""`cstd completion bash|zsh|fish`: what a shell offers after `cstd`, from the parser's own table.

The scripts hold the words, so that a press of the tab key starts no Python.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cstd.cli.parser import VERBS, parser_of
from cstd.cli.schemas import names as schema_names
from cstd.jobs.table import JOBS

FILES = ("FILE", "PUB", "PATH")
DIRECTORIES = ("DIR",)
# What is named by its place and has words of its own, which the parser leaves to who is told the name: it can say more.
CHOICES = {"job": tuple(job.name for job in JOBS), "of": tuple(name.replace(" ", "-") for name in schema_names())}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a verb.

    flags: as they are typed; () for what is named by its place. value: "" where it takes none, else "files", "directories",
    "choices" or "text". label: what the help calls the value. many: it may be given again.
    """

    flags: tuple[str, ...]
    gives: str
    value: str
    label: str
    choices: tuple[str, ...] = ()
    many: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """One verb as it is typed: its words and its arguments."""

    words: tuple[str, ...]
    gives: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> tuple[Argument, ...]:
        """Those that begin with a dash."""
        return tuple(argument for argument in self.arguments if argument.flags)

    @property
    def places(self) -> tuple[Argument, ...]:
        """Those named by their place."""
        return tuple(argument for argument in self.arguments if not argument.flags)


def forms() -> tuple[Form, ...]:
    """Return every verb that `cstd --help` lists, with its arguments."""
    return tuple(Form(verb.words, verb.gives, tuple(_argument(action) for action in _parser(verb.words)._actions))
                 for verb in VERBS if not verb.hidden)


def _parser(words: tuple[str, ...]) -> argparse.ArgumentParser:
    if words == ("practice",):
        from cstd.practice.app import options_parser

        return options_parser()
    return next(parser_of(verb) for verb in VERBS if verb.words == words)


def _argument(action: argparse.Action) -> Argument:
    label = str(action.metavar or action.dest.upper())
    choices = tuple(map(str, action.choices or ())) or (CHOICES.get(action.dest, ()) if not action.option_strings else ())
    value = ("" if action.nargs == 0 else "choices" if choices else "files" if label in FILES
             else "directories" if label in DIRECTORIES else "text")
    many = action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction)
    gives = " ".join((action.help or "").replace("%%", "%").split())
    return Argument(tuple(action.option_strings), gives, value, label, choices, many)


def _families(table: tuple[Form, ...]) -> dict[str, list[Form]]:
    """Return the verbs of two words by their first."""
    found: dict[str, list[Form]] = {}
    for form in table:
        if len(form.words) > 1:
            found.setdefault(form.words[0], []).append(form)
    return found


def _firsts(table: tuple[Form, ...]) -> dict[str, str]:
    """Return the first words with what they give; a family gives its second words."""
    firsts: dict[str, str] = {}
    for form in table:
        family = [other.words[1] for other in table if len(other.words) > 1 and other.words[0] == form.words[0]]
        firsts.setdefault(form.words[0], ", ".join(family) if family else form.gives)
    return firsts


def _quoted(text: str) -> str:
    """Return a text in single quotes, as every one of the shells takes it."""
    return "'" + text.replace("'", "’") + "'"


# bash


def bash(table: tuple[Form, ...]) -> str:
    """Return the script for bash 4 or newer."""
    lines = ["# bash completion for cstd, made by `cstd completion bash`", "_cstd() {",
             '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="${COMP_WORDS[1]}" words=""',
             "    COMPREPLY=()", "    if ((COMP_CWORD == 1)); then", f"        {_bash_words(_firsts(table))}; return", "    fi",
             '    case "$verb" in']
    for first, family in _families(table).items():
        seconds = [form.words[1] for form in family]
        # The first word may be a verb by itself too, with options of its own.
        lines += [f"        {first})",
                  f'            if ((COMP_CWORD == 2)) && [[ $cur != -* ]]; then {_bash_words(seconds)}; return; fi',
                  f'            case "${{COMP_WORDS[2]}}" in {"|".join(seconds)}) verb="$verb ${{COMP_WORDS[2]}}" ;; esac ;;']
    lines += ["    esac", '    case "$verb $prev" in']
    for form in table:
        for option in form.options:
            if option.value:
                pattern = "|".join(f'"{" ".join(form.words)} {flag}"' for flag in option.flags)
                lines.append(f"        {pattern}) {_bash_value(option)}; return ;;")
    lines += ["    esac", '    case "$verb" in']
    for form in table:
        flags = " ".join(flag for option in form.options for flag in option.flags)
        place = next((argument for argument in form.places if argument.value != "text"), None)
        other = f' [[ $cur == -* ]] || {{ {_bash_value(place)}; return; }}' if place is not None else ""
        lines.append(f'        "{" ".join(form.words)}") words="{flags}";{other or " :"} ;;')
    return "\n".join([*lines, "    esac", '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")', "}",
                      "complete -F _cstd cstd", ""])


def _bash_words(words: Iterable[str]) -> str:
    return f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(words)}" -- "$cur")'


def _bash_value(argument: Argument) -> str:
    if argument.value == "choices":
        return _bash_words(argument.choices)
    if argument.value in ("files", "directories"):
        action = "-f" if argument.value == "files" else "-d"
        return f'compopt -o filenames; mapfile -t COMPREPLY < <(compgen {action} -- "$cur")'
    return ":"


# zsh


def zsh(table: tuple[Form, ...]) -> str:
    """Return the script for zsh."""
    lines = ["#compdef cstd", "# zsh completion for cstd, made by `cstd completion zsh`", "_cstd() {", "  local -a offered",
             "  if (( CURRENT == 2 )); then", f"    offered=({_zsh_described(_firsts(table))})",
             "    _describe verb offered; return", "  fi", "  local verb=$words[2]", "  case $verb in"]
    for first, family in _families(table).items():
        seconds = {form.words[1]: form.gives for form in family}
        lines += [f"    {first})", "      if (( CURRENT == 3 )) && [[ $words[3] != -* ]]; then",
                  f"        offered=({_zsh_described(seconds)})", "        _describe verb offered; return", "      fi",
                  f'      case $words[3] in ({"|".join(seconds)})',
                  '        verb="$verb $words[3]"; shift words; (( CURRENT-- )) ;;',
                  "      esac ;;"]
    lines += ["  esac", "  shift words; (( CURRENT-- ))", "  case $verb in"]
    for form in table:
        specs = [_zsh_spec(argument) for argument in form.arguments]
        lines += [f"    {_quoted(' '.join(form.words))}) _arguments \\", *(f"      {spec} \\" for spec in specs), "      ;;"]
    called = 'if [ "$funcstack[1]" = "_cstd" ]; then _cstd "$@"; else compdef _cstd cstd; fi'
    return "\n".join([*lines, "  esac", "}", called, ""])


def _zsh_described(words: Mapping[str, str]) -> str:
    return " ".join(_quoted(f"{word}:{gives.replace(':', chr(92) + ':')}") for word, gives in words.items())


def _zsh_spec(argument: Argument) -> str:
    value = {"choices": f"({' '.join(argument.choices)})", "files": "_files", "directories": "_files -/", "text": " ", "": ""}
    label = argument.label.replace(":", "")
    if not argument.flags:
        return _quoted(f"{'*' if argument.many else ''}:{label}:{value[argument.value]}")
    gives = argument.gives.translate({ord("["): "(", ord("]"): ")", ord(":"): "\\:"})
    tail = f"[{gives}]" + (f":{label}:{value[argument.value]}" if argument.value else "")
    if argument.many:
        return " ".join(_quoted(f"*{flag}{tail}") for flag in argument.flags)
    alone = f"({' '.join(argument.flags)})" if len(argument.flags) > 1 else ""
    return " ".join(_quoted(f"{alone}{flag}{tail}") for flag in argument.flags)


# fish


def fish(table: tuple[Form, ...]) -> str:
    """Return the script for fish."""
    lines = ["# fish completion for cstd, made by `cstd completion fish`", "function __cstd_is --description 'the verb is typed'",
             "    set -l typed (commandline -opc)", "    set -e typed[1]", "    set -l count (count $argv)",
             "    test (count $typed) -ge $count; or return 1", "    test $count -eq 0; and return 0",
             '    test "$typed[1..$count]" = "$argv"', "end",
             "function __cstd_next --description 'these words are typed and no more'", "    set -l typed (commandline -opc)",
             "    set -e typed[1]", "    test (count $typed) -eq (count $argv); and __cstd_is $argv", "end",
             "complete -c cstd -f"]
    lines += [f"complete -c cstd -n __cstd_next -a {first} -d {_quoted(gives)}" for first, gives in _firsts(table).items()]
    for first, family in _families(table).items():
        lines += [f"complete -c cstd -n '__cstd_next {first}' -a {form.words[1]} -d {_quoted(form.gives)}" for form in family]
    for form in table:
        when = f"complete -c cstd -n '__cstd_is {' '.join(form.words)}'"
        for argument in form.arguments:
            value = {"choices": f" -x -a {_quoted(' '.join(argument.choices))}", "files": " -r -F",
                     "directories": " -x -a '(__fish_complete_directories)'", "text": " -x" if argument.flags else "", "": ""}
            flags = "".join(f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}" for flag in argument.flags)
            given = value[argument.value] if argument.flags else value[argument.value].replace(" -x", "").replace(" -r", "")
            lines.append(f"{when}{flags}{given} -d {_quoted(argument.gives)}")
    return "\n".join([*lines, ""])


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def main(args: argparse.Namespace) -> int:
    """Print the script of `args.shell`."""
    sys.stdout.write(SCRIPTS[args.shell](forms()))
    return 0
