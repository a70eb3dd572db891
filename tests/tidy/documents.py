"""What the documents name: links, commands, make targets, modules, keys, metrics; and what of it does not exist."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cstd.cli.parser import VERBS, Parser, Verb
from cstd.config.schema import Config

ROOT = Path(__file__).resolve().parents[2]
# Files whose strings name metrics and counters; f-strings stand for families of them.
METRIC_SOURCES = ("cstd/ops/metric_texts.py", "cstd/daemon/futures_rows.py", "cstd/ops/metrics.py",
                  "cstd/ops/reader.py", "cstd/daemon/view.py", "cstd/daemon/process.py",
                  "cstd/_fast/gateway.pyx", "cstd/daemon/children.py", "cstd/projector/mark.py")
METRIC = re.compile(r"cstd_[a-z0-9_<>]+")
ENDINGS = ("_total", "_bucket", "_sum", "_count")


def documents() -> list[Path]:
    """Every page that a user reads."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def prose(text: str) -> str:
    """A page without its fenced code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def code(text: str) -> Iterator[str]:
    """Lines of fenced and indented code, and every code span; a fence of `text` is output."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from (line for language, block in fenced if language != "text" for line in block.splitlines())
    rest = prose(text)
    yield from re.findall(r"^ {4,}(\S.*)$", rest, re.MULTILINE)
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))


def slug(heading: str) -> str:
    """The anchor that a heading has."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """The anchors of a page."""
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)}


def dead_links(page: Path) -> list[str]:
    """Relative links of a page whose file, or whose heading, is not there."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or ROOT not in target.parents or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


@cache
def options(verb: Verb) -> frozenset[str]:
    """The options that a verb takes."""
    if verb.name == "practice":  # the exchange has a parser of its own
        text = (ROOT / "cstd/practice/app.py").read_text("utf-8")
        return frozenset(re.findall(r'"(--?[a-z][a-z-]*)"', text)) | {"--help", "-h"}
    parser = Parser(prog=verb.name)
    verb.add(parser)
    return frozenset(parser._option_string_actions)


def wrong_commands(line: str) -> list[str]:
    """What of the `cstd` commands in a line of code does not exist."""
    wrong = []
    for words in re.findall(r"(?:^|[\s/(])cstd ([^|;#&>)]*)", line):
        word, *more = re.split(r"[\s,]+", words.strip()) or [""]
        named = [verb for verb in VERBS if verb.words[0] == word]
        if word.startswith("-") or word in ("VERB", "…", "") or not re.fullmatch(r"[a-z-]+", word):
            continue
        pairs = [verb for verb in named if len(verb.words) == 1 or more[:1] == [verb.words[1]]
                 or verb.words[1] in (more[0].split("|") if more else ())]
        if not pairs and not (named and not more):
            wrong.append(f"cstd {words.strip()}")
            continue
        known = frozenset().union(*(options(verb) for verb in pairs or named), {"--help"})
        given = [option.split("=")[0] for option in re.findall(r"(?<!\S)\[?(--?[a-zA-Z][\w-]*)", words)]
        wrong += [f"cstd {word} {option}" for option in given if option not in known]
    return wrong


def wrong_targets(line: str) -> list[str]:
    """Make targets in a line of code that there are not."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|[\s(])make ([a-z-]+)", line)
    grouped = re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return [name for name in named if name not in targets | {word for group in grouped for word in group.split()}]


def wrong_modules(line: str) -> list[str]:
    """Modules that a line of code runs and that there are not."""
    named = re.findall(r"python3? -m ((?:cstd|tests|bench)[\w.]*)", line)
    return [name for name in named if not (ROOT / f"{name.replace('.', '/')}.py").exists()
            and not (ROOT / name.replace(".", "/") / "__main__.py").exists()]


def _program(name: str) -> str:
    """The source of a module, or of the package's modules that read arguments."""
    base = ROOT / name.replace(".", "/")
    paths = [base.with_suffix(".py"), base / "__main__.py", base / "run.py"]
    if name.startswith("bench"):
        paths.append(ROOT / "bench" / "result.py")  # where their common options are
    return "".join(path.read_text("utf-8") for path in paths if path.exists())


def wrong_arguments(line: str) -> list[str]:
    """Options of programs, run as modules or by `make TARGET ARGS="..."`, that their source does not name."""
    runs = [(name, rest) for name, rest in re.findall(r"python3? -m ((?:cstd|tests|bench)[\w.]*)([^#;|&]*)", line)]
    makefile = (ROOT / "Makefile").read_text()
    for target, arguments in re.findall(r'make ([a-z-]+)[^"\n]*ARGS="([^"]*)"', line):
        recipe = re.search(rf"^{target}\b.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        for path in re.findall(r"\$\(BIN\)/python (?:-m )?([\w./]+)", recipe[1] if recipe else ""):
            runs.append((path.removesuffix(".py").replace("/", "."), arguments))
    wrong = []
    for name, arguments in runs:
        given = re.findall(r"(?<!\S)(--[a-z][\w-]*)", arguments)
        wrong += [f"{name} {option}" for option in given if name != "pytest" and f'"{option}"' not in _program(name)]
    return wrong


def wrong_keys(span: str) -> list[str]:
    """Configuration keys, `section.key`, that the schema does not have."""
    hints = typing.get_type_hints(Config)
    wrong = []
    for section, key in re.findall(r"(?<![\w./-])([a-z]+)\.([a-z][a-z0-9_]*)(?![\w./(-])", span):
        if key in ("json", "so"):
            continue  # a file
        struct = hints.get(section)
        fields = [getattr(part, "__struct_fields__", ()) for part in (typing.get_args(struct) or (struct,))]
        if struct is not None and not isinstance(struct, str) and any(fields) and not any(key in names for names in fields):
            wrong.append(f"{section}.{key}")
    return wrong


@cache
def _metric_patterns() -> re.Pattern[str]:
    names = set()
    for name in METRIC_SOURCES:
        for prefix, text in re.findall(r'(f?)"([a-z][a-z0-9_{}.\[\]:()]*)"', (ROOT / name).read_text("utf-8")):
            bare = text.removeprefix("cstd_")
            if not re.sub(r"\{.*?\}|_", "", bare):
                continue  # any name at all
            names.add(re.sub(r"\\{.*?\\}", "[a-z0-9_]+", re.escape(bare)) if prefix else re.escape(bare))
    return re.compile("|".join(sorted(names)))


@cache
def _c_names() -> frozenset[str]:
    """Functions and types of the compiled core, which have the same prefix."""
    return frozenset(name for path in (ROOT / "cstd/_fast/csrc").glob("*.h") for name in METRIC.findall(path.read_text("utf-8")))


def wrong_metrics(span: str) -> list[str]:
    """Metrics, `cstd_...`, that nothing exposes."""
    wrong = []
    for metric in METRIC.findall(span):
        name = re.sub(r"<\w+>", "any", metric).removeprefix("cstd_")
        forms = {name, *(name.removesuffix(ending) for ending in ENDINGS)}
        if not any(_metric_patterns().fullmatch(form) for form in forms) and metric not in _c_names():
            wrong.append(metric)
    return wrong


def is_key(span: str) -> bool:
    """Whether a span is one configuration key of the schema."""
    section, _, key = span.partition(".")
    return section in typing.get_type_hints(Config) and bool(key) and not wrong_keys(span)
