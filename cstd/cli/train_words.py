"""The arguments of `cstd train` and `cstd evaluate`."""

from __future__ import annotations

import argparse

from cstd.cli import values

TRAIN_EXAMPLES = """\
examples:
  cstd train --bars XBTUSD_60m.csv.gz ETHUSD_60m.csv.gz --horizon 4h,24h --name hourly
  cstd train --bars bars/5m --horizon 1h --name short --trials 20 --key models.key
  cstd train --bars bars/5m --horizon 1h --name short --trials 20 --key models.key --resume

Needs pip install 'cstd[train]'. What is learnt, what is held out and what bars cannot show: docs/models.md.
"""
EVALUATE_EXAMPLES = """\
examples:
  cstd evaluate hourly --bars XBTUSD_60m.csv.gz --from 2022-01-01 --to 2023-01-01 -o json
  cstd evaluate hourly/production --key models.key --bars XBTUSD_60m.csv.gz --from 2022-01-01 --to 2023-01-01

Needs pip install 'cstd[cpu]'. What each figure is, and what makes a verdict: docs/models.md.
"""
HORIZONS = ("1h", "4h", "24h")


def basis_points(text: str) -> float:
    """Return a number of basis points, 0 to 1,000."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of basis points from 0 to 1000")
    return value


def horizons(text: str) -> list[str]:
    """Return the horizons of a list with commas, each once."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [name for name in names if name not in HORIZONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(HORIZONS)}")
    return names


def trials(text: str) -> int:
    """Return a number of trials, 1 to 10,000."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of trials from 1 to 10000")
    return int(text)


def _bars(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bars", required=True, nargs="+", metavar="FILE", help="files of trade bars, all of one length, as "
                        "`cstd features` reads them, or folders of them; a file's name begins with its instrument")


def train(parser: argparse.ArgumentParser) -> None:
    """Arguments of `train`."""
    _bars(parser)
    parser.add_argument("--horizon", type=horizons, default=list(HORIZONS), metavar="LIST",
                        help="1h, 4h, 24h, or some of them with commas (default all)")
    parser.add_argument("--name", required=True, help="of the model; each run writes its next version")
    parser.add_argument("--out", default="models", metavar="DIR", help="where models are kept (default models)")
    parser.add_argument("--key", metavar="FILE", help="signs the version into the registry (default: unsigned, which can be "
                        "evaluated and not promoted)")
    parser.add_argument("--from", dest="from_", metavar="DAY", help="bars from this UTC day or time on")
    parser.add_argument("--to", metavar="DAY", help="bars before this one")
    parser.add_argument("--seed", type=values.seed, default=1, metavar="N", help="of everything that is drawn (default 1)")
    parser.add_argument("--trials", type=trials, default=8, metavar="N", help="parameters tried of each member (default 8)")
    parser.add_argument("--search-s", type=values.seconds, metavar="S",
                        help="end the search of a member after S seconds; what comes out then depends on the host's speed")
    parser.add_argument("--resume", action="store_true", help="go on where a run with the same bars and options was ended")
    parser.add_argument("--maker-bps", type=basis_points, default=25.0, metavar="BPS", help="fee of the opening (default 25)")
    parser.add_argument("--taker-bps", type=basis_points, default=40.0, metavar="BPS", help="fee of the exit (default 40)")
    parser.add_argument("--half-spread-bps", type=basis_points, default=5.0, metavar="BPS",
                        help="how far below a bar's open an exit is taken to fill (default 5)")
    values.output(parser)


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evaluate`."""
    parser.add_argument("model", metavar="MODEL", help="NAME, NAME/VERSION, NAME/production, production, or a version's folder")
    _bars(parser)
    parser.add_argument("--from", dest="from_", required=True, metavar="DAY", help="the first UTC day or time that is judged")
    parser.add_argument("--to", required=True, metavar="DAY", help="the end, not included")
    parser.add_argument("--horizon", type=horizons, metavar="LIST", help="only these (default: all of the model)")
    parser.add_argument("--key", metavar="FILE", help="of the registry: checks the signature; production needs it")
    parser.add_argument("--models", default="models", metavar="DIR", help="where models are kept (default models)")
    values.output(parser)


# Word, what it gives, its module, its arguments, examples.
VERBS = (
    ("train", "a model of bars: which trades would have earned after fees", "cstd.research.models.train_command", train,
     TRAIN_EXAMPLES),
    ("evaluate", "what a model is worth on bars it was not trained on, beside its baselines", "cstd.research.models.evaluation",
     evaluate, EVALUATE_EXAMPLES),
)
