"""The verbs and their arguments. Only what exists is listed."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cstd import __version__
from cstd.cli import models_words, train_words
from cstd.cli.examples import (
    AUDIT_EXAMPLES,
    BACKUP_EXAMPLES,
    COMPLETION_EXAMPLES,
    CONFIG_CHECK_EXAMPLES,
    DOCTOR_EXAMPLES,
    EXAMPLES,
    EXECUTION_EXAMPLES,
    EXPORT_EXAMPLES,
    JOBS_EXAMPLES,
    LIVE_CHECK_EXAMPLES,
    OPPORTUNITIES_EXAMPLES,
    PERFORMANCE_EXAMPLES,
    REBASE_EXAMPLES,
    RELOAD_EXAMPLES,
    REPLAY_EXAMPLES,
    SCHEMA_EXAMPLES,
    WHY_EXAMPLES,
)
from cstd.cli.values import count, gate, length_s, millionths, output, seconds, seed, since, uid
from cstd.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
EXPORTED = ("orders", "fills", "decisions", "marks", "balances", "states")

Add = Callable[[argparse.ArgumentParser], None]
Call = Callable[[Any, argparse.Namespace], int]


def _main(module: Any, args: argparse.Namespace) -> int:
    return int(module.main(args))


def _named(name: str) -> Call:
    """Return what calls a function of the verb's module."""
    return lambda module, args: int(getattr(module, name)(args))


@dataclass(frozen=True)
class Verb:
    """One verb: its words, what it gives, its module (imported when it runs), how to call that, its arguments, examples."""

    words: tuple[str, ...]
    gives: str
    module: str
    add: Add = lambda _parser: None
    call: Call = _main
    hidden: bool = False
    examples: str = ""

    @property
    def name(self) -> str:
        """The words as the user types them."""
        return " ".join(self.words)


class Parser(argparse.ArgumentParser):
    """Raises UsageError instead of leaving the process; abbreviations are off, a script must not depend on them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Report a wrong command line."""
        raise UsageError(message, suggestion=f"see {self.prog} --help")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", action="append", required=True, metavar="FILE",
                        help="a TOML file; again for more, the later one wins")


def _run(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--for", dest="for_s", type=seconds, metavar="S", help="stop S seconds after the state ready")
    parser.add_argument("--run-dir", metavar="DIR", help="where state is kept (default: [run] dir)")
    output(parser, "json", ("json",))


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE",
                        help="a journal or run directory, a bundle of `cstd flight`, or recordings *.jsonl.zst")
    parser.add_argument("--check", action="store_true", help="compare with what the journal says; exit 3 if it differs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="trade the market anew: a key of the configuration, simulated_venue.KEY, or tape.volume_hour to "
                             "assume; a limit: also what it would not have sent, and of a journal which of its own orders")
    parser.add_argument("--rescore", action="store_true",
                        help="journals: run the models again on the rows of the journal's scores; exit 3 if they differ")
    parser.add_argument("--models", type=Path, metavar="DIR", help="of --rescore: the registry (default: scorer.models)")
    parser.add_argument("--models-key", type=Path, metavar="FILE", help="of --rescore: its key (default: scorer.key)")
    parser.add_argument("--tolerance", type=millionths, metavar="N",
                        help="of --rescore: the greatest difference that is none, in millionths (default 2)")
    output(parser, "json")


def _journal_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", metavar="DIR", help="a journal directory")
    parser.add_argument("--key", type=Path, metavar="FILE", help="your copy of the signer's public key (default: DIR/signer.pub)")
    output(parser)


def _journal_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", nargs="?", default=".run/current", metavar="DIR", help="a run directory or a journal (default "
                        ".run/current); a daemon may be writing it")
    parser.add_argument("--from", dest="from_", type=count, metavar="SEQ", required=True, help="the first record")
    parser.add_argument("--to", type=count, metavar="SEQ", help="the last one (default: the first one alone)")
    output(parser)


def _db_rebuild(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", nargs="?", default=".run/current", metavar="DIR", help="a run directory (default .run/current)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="make this file instead of DIR/ledger.db")
    output(parser)


def _alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--acks", action="store_true", help="instead: what was acknowledged, by whom, and how soon")
    _alertmanager(parser)


def _alerts_ack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("alert", metavar="ALERT", help="its name, as `cstd alerts` prints it")
    parser.add_argument("--for", dest="for_s", type=length_s, default=length_s("4h"), metavar="TIME",
                        help="how long it tells nobody again (default 4h)")
    parser.add_argument("--comment", default="", metavar="TEXT", help="what is done about it")
    parser.add_argument("--by", metavar="WHO", help="who has it in hand (default: you)")
    parser.add_argument("--undo", action="store_true", help="take it back")
    _alertmanager(parser)


def _alertmanager(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alertmanager", metavar="URL", help="where it listens (default: ALERTMANAGER_URL, or "
                        "http://127.0.0.1:9093)")
    output(parser)


def _backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="BACKUP", help="the folder to bring up to date, made if it is not there")
    parser.add_argument("--run-dir", metavar="DIR", help="the session (default: CSTD__RUN__DIR, or .run/current)")
    output(parser)


def _handover(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the file to write; one that is there already is an error")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--run-dir", metavar="DIR", help="the session, stopped (default: CSTD__RUN__DIR, or .run/current)")
    output(parser)


def _restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="BACKUP", help="a folder that `cstd backup` made")
    parser.add_argument("--run-dir", metavar="DIR", required=True, help="where to; no journal may be there")
    parser.add_argument("--key", type=Path, metavar="FILE",
                        help="your copy of the signer's public key (default: the one in the backup)")
    output(parser)


def _journal_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", metavar="DIR", help="a journal directory; a daemon may be writing it")
    parser.add_argument("--keep-bytes", type=count, default=0, metavar="N",
                        help="also remove the oldest segments while all of them exceed N bytes (default: keep all)")
    output(parser)


def _statement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE", help="for its run directory and socket")
    parser.add_argument("--run-dir", metavar="DIR", help="the session (default: [run] dir)")
    parser.add_argument("--day", metavar="YYYY-MM-DD", help="a UTC day, or yesterday: the last one that is over (default: the "
                        "last one that is over and that the session saw the whole of, or else the one under way)")
    parser.add_argument("--from", dest="from_", metavar="TIME", help="instead: a span, 2026-08-02T10:00:00Z or a day")
    parser.add_argument("--to", metavar="TIME", help="its end, not included")
    parser.add_argument("--running", action="store_true", help="only through a running daemon: exit 1 where none runs")
    parser.add_argument("--verify", type=Path, metavar="FILE", help="instead: whether a statement is as it was signed")
    parser.add_argument("--key", type=Path, metavar="PUB",
                        help="with --verify: your copy of the signer's public key (default: the one beside FILE)")
    output(parser)


def _audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", nargs="?", default=".run/current", metavar="DIR", help="a run directory, a journal, or one in a "
                        "backup (default .run/current)")
    parser.add_argument("--since", type=since, metavar="TIME", help="from then on: 10m, 2h, 1d, or 2026-08-02T10:00:00Z")
    parser.add_argument("--verb", dest="of_verb", metavar="VERB", help="commands of this verb alone, such as limits_set")
    parser.add_argument("--uid", type=uid, metavar="N", help="commands of this user alone")
    output(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", choices=EXPORTED, help="which rows")
    parser.add_argument("--since", type=since, metavar="TIME", help="from then on: 1d, 2026-08-02, or 2026-08-02T10:00:00Z "
                        "(default: all)")
    parser.add_argument("--run-dir", default=".run/current", metavar="DIR", help="the session (default .run/current)")


def _jobs_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE",
                        help="for its run directory, its socket and jobs.backup_dir")
    parser.add_argument("--run-dir", metavar="DIR", help="the session (default: [run] dir)")
    output(parser)


def _jobs_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="NAME", help="of the job, as `cstd jobs list` has it")
    parser.add_argument("--once", action="store_true", help="one attempt, without the pauses and further tries")
    parser.add_argument("--limit", type=length_s, metavar="TIME", help="how long an attempt may take, 90s, 10m, 2h (default: the "
                        "job's own, at most five minutes)")
    _jobs_list(parser)


def _flight_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", metavar="DIR", help="the daemon's run directory (default .run/current)")
    output(parser)


def _flight_save(parser: argparse.ArgumentParser) -> None:
    _flight_list(parser)
    parser.add_argument("--reason", metavar="TEXT", help="for the bundle's manifest")


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recording", nargs="+", default=[], metavar="FILE", help="v2 book recordings to run on")
    parser.add_argument("--frames", type=count, metavar="N", help="stop after N frames")
    output(parser)


def _features(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bars", required=True, metavar="FILE", help="trade bars, CSV, plain or gzip: time (unix seconds of "
                        "the bar's start), open, high, low, close, volume; a header is optional and may give another order")
    output(parser, "csv", ("csv", "json"))


def _weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bars", required=True, nargs="+", metavar="PATH", help="bar files as `cstd features` reads them, "
                        "one an instrument and named after it, or folders of such files")
    parser.add_argument("--method", choices=("hrp", "minvar"), default="hrp", help="hierarchical risk parity, or least variance "
                        "(default hrp)")
    output(parser)


def _agents_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="DIR", help="folder of agents (default: the built-in ones)")
    parser.add_argument("--out", metavar="DIR", help="where the shared object goes")
    output(parser)


def _strategy_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="FILE", help="the strategy's file, or a folder that holds one")
    parser.add_argument("--out", required=True, metavar="DIR", help="where object and manifest go: dir of [strategy.own]")
    output(parser)


def _config_check(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    output(parser)
    parser.add_argument("--frames-per-s", type=count, metavar="N", help="frames a second over all instruments, for the plan")
    parser.add_argument("--session", metavar="DIR", help="a run directory that knows the venue's minimums, its prices and the "
                        "equity: of the daemon that runs there, or of the journal that one left")


def _config_show(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    output(parser)


def _session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", default="config/practice.toml", metavar="FILE")
    parser.add_argument("--for", dest="for_s", type=seconds, metavar="S")
    parser.add_argument("--root", default=".run", metavar="DIR")
    parser.add_argument("--tls", action="store_true", help="https and wss between daemon and exchange")


def _chaos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faults", metavar="LIST", help="kill9, stop, disk-full, fsync-failing, net-cut, clock-step, venue, "
                        "children, separated by commas (default: all)")
    parser.add_argument("--kills", type=count, default=5, metavar="N", help="how many kill -9 (default 5)")
    parser.add_argument("--seed", type=seed, metavar="N", help="of the moments and the exchange (default: a random one)")
    parser.add_argument("--tally", metavar="FILE", help="goes on until FILE has --kills in all")
    parser.add_argument("--must-run", action="store_true", help="exit 1 where this host does not let one of the faults happen, "
                        "or lets something lesser happen in its place")
    parser.add_argument("-c", "--config", metavar="FILE", help="of mode practice (default: the shipped one)")
    output(parser)


def default_socket(environ: Mapping[str, str] | None = None) -> str:
    """Return where the admin socket is unless --socket names another: as the daemon's own configuration would."""
    environ = os.environ if environ is None else environ
    directory = environ.get("CSTD__RUN__DIR", ".run/current")
    return environ.get("CSTD__RUN__SOCKET") or _socket_in(directory)


def _socket_in(directory: str) -> str:
    return f"{directory}/cstd.sock"


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE",
                        help="what the daemon would run with (default: the shipped practice.toml); again for more")
    parser.add_argument("--run-dir", metavar="DIR", help="where its state is kept (default: [run] dir)")
    parser.add_argument("--venue", action="store_true",
                        help="also ask the venue of the mode for its time: the clock's offset and the round trip")
    parser.add_argument("--without-keys", action="store_true", help="leave the venue's keys out: for a job that has none")
    output(parser)


def _live_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", action="append", required=True, metavar="FILE",
                        help="what the daemon will run with; again for more. Its strategy is not asked")
    parser.add_argument("--instrument", metavar="NAME", help="where the order rests (default: the first of instruments.names)")
    parser.add_argument("--run-dir", metavar="DIR", help="where the daemon's state is kept (default: [run] dir); the check's own "
                        "folder is made below it")
    parser.add_argument("--yes", action="store_true", help="do not ask before the real orders")
    output(parser)


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("of", nargs="*", metavar="NAME", help="of what: config, error, or a verb (default: list the names)")


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="whose script")


def _admin(gives: str, name: str, add: Add = lambda _parser: None, examples: str = "", module: str = "cstd.ops.client") -> Verb:
    """Return a verb that goes over the admin socket."""
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--socket", default=default_socket(), metavar="PATH", help="the daemon's admin socket")
        parser.add_argument("--run-dir", dest="socket", type=_socket_in, metavar="DIR", default=argparse.SUPPRESS,
                            help="the daemon's run directory, with its socket in it")
        add(parser)
        output(parser)

    return Verb(tuple(name.split()), gives, module, arguments, lambda module, args: int(module.main(name, args)),
                examples=examples)


def _all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="of the whole session: orders that have ended, fills of any age")


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="an intent's number or a client order id")
    parser.add_argument("--last", action="store_true", help="the latest decision")
    parser.add_argument("--instrument", metavar="X", help="the latest one of this instrument")
    parser.add_argument("--refused-by", type=gate, metavar="GATE",
                        help="the latest one that this gate, by name or code, refused first")
    parser.add_argument("--count", type=count, metavar="N", help="the latest N instead of one, newest first, at most 20")
    parser.add_argument("--since", type=since, metavar="TIME", help="instead: what was decided since then, by the gate that "
                        "failed first; 10m, 2h, or 2026-08-02T10:00:00Z. Without a daemon, from the session's ledger.db")


def _ledger_session(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(socket=default_socket())
    parser.add_argument("--run-dir", dest="socket", type=_socket_in, metavar="DIR", default=argparse.SUPPRESS,
                        help="the session's run directory; a daemon need not run there")


def _execution(parser: argparse.ArgumentParser) -> None:
    _ledger_session(parser)
    parser.add_argument("--instrument", metavar="X", help="orders of this instrument alone")
    parser.add_argument("--since", type=since, metavar="TIME", help="orders decided since then: 10m, 2h, or 2026-08-02T10:00:00Z "
                        "(default: all)")
    parser.add_argument("--orders", type=count, metavar="N", help="instead: the newest N orders that have a fill, a line each")
    output(parser)


def _performance(parser: argparse.ArgumentParser) -> None:
    _ledger_session(parser)
    parser.add_argument("--since", type=since, metavar="TIME", help="the change since then: 10m, 2h, or 2026-08-02T10:00:00Z "
                        "(default: since the journal's first agreed balances)")
    output(parser)


def _reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", metavar="TEXT", help="for the journal")


def _kill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hold", action="store_true", help="hold exits back too")
    parser.add_argument("--clear", action="store_true", help="clear the latch, in two steps, both with --yes; for a "
                        "minute after it the daemon decides and sends nothing (shadow)")
    _flatten(parser)


def _flatten(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _reason(parser)


def _approve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="the number of the intent that waits")
    parser.add_argument("--list", action="store_true", help="instead: what waits, with its age and when it expires")
    _flatten(parser)


def _decline(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the number of the intent that waits")
    _reason(parser)


def _page_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--end", action="store_true", help="instead: none of yours is good any more")


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instrument", metavar="NAME", help="as they hold for this instrument (default: in general, and what "
                        "single instruments have otherwise)")


def _clusters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instrument", metavar="NAME", help="its correlations with all others (default: those of what has "
                        "exposure, then of the first instruments)")


def _opportunities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--horizon", choices=("1h", "4h", "24h"), help="of this horizon alone")
    parser.add_argument("--instrument", metavar="NAME", help="of this instrument alone, looked at now")


def _limits_reset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="the limit's key in the configuration, as `cstd limits` lists it")
    _limit_of(parser)


def _limits_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="the limit's key in the configuration, as `cstd limits` lists it")
    parser.add_argument("value", metavar="VALUE", help="in the key's own unit; not looser than the configuration")
    _limit_of(parser)


def _limit_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instrument", metavar="NAME", help="of this instrument alone")
    _flatten(parser)


VERBS = (
    Verb(("run",), "the daemon", "cstd.daemon", _run, lambda module, args: int(module.run(args))),
    Verb(("practice",), "the practice exchange alone, on loopback", "cstd.practice.app"),
    Verb(("replay",), "the decisions of a journal or recording, computed again", "cstd.research.replay", _replay,
         examples=REPLAY_EXAMPLES),
    Verb(("bench",), "the hot path on this host, frame bytes to order bytes", "cstd.research.bench", _bench),
    Verb(("features",), "the indicators of a file of bars", "cstd.research.features", _features),
    Verb(("weights",), "how to spread capital over instruments, from files of bars: risk parity or least variance",
         "cstd.research.weights", _weights),
    *(Verb((word,), gives, module, add, examples=examples) for word, gives, module, add, examples in train_words.VERBS),
    Verb(("journal", "verify"), "whether a journal is what was written", "cstd.storage.verify", _journal_verify),
    Verb(("journal", "show"), "records of a journal as they are written, such as those that `cstd why ID` names",
         "cstd.storage.journal_show", _journal_show),
    Verb(("journal", "checkpoint"), "the state at a journal's end, so that a start need not replay it all",
         "cstd.daemon.checkpointer", _journal_checkpoint),
    Verb(("alerts", "ack"), "an alert is in hand: it tells nobody again for a while", "cstd.cli.alerts", _alerts_ack,
         lambda module, args: int(module.ack(args))),
    Verb(("alerts",), "what fires, as Alertmanager has it, and who has it in hand", "cstd.cli.alerts", _alerts,
         lambda module, args: int(module.list_alerts(args))),
    Verb(("backup",), "the journal, ledger and key of a run directory, kept elsewhere; again and again, while it trades",
         "cstd.cli.backup", _backup, lambda module, args: int(module.backup(args)), examples=BACKUP_EXAMPLES),
    Verb(("restore",), "a backup brought into an empty run directory, proven before anything is written", "cstd.cli.backup",
         _restore, lambda module, args: int(module.restore(args))),
    Verb(("handover",), "what an upgrade must not forget, of a stopped daemon, for the first start of a new journal",
         "cstd.cli.handover", _handover),
    Verb(("statement",), "a day's orders, fills, fees and balances against the venue's books; exit 3 if they differ",
         "cstd.cli.statement", _statement),
    Verb(("audit",), "who asked the daemon for what, and when, from the journal", "cstd.cli.audit", _audit,
         examples=AUDIT_EXAMPLES),
    Verb(("export",), "orders, fills and other rows of the ledger as CSV", "cstd.cli.export", _export, examples=EXPORT_EXAMPLES),
    Verb(("jobs", "list"), "what runs by itself: how often, how it stands, and why", "cstd.cli.jobs", _jobs_list,
         lambda module, args: int(module.list_jobs(args)), examples=JOBS_EXAMPLES),
    Verb(("jobs", "run"), "one of the jobs now, with its limit, its further tries and its record", "cstd.cli.jobs", _jobs_run,
         lambda module, args: int(module.run_job(args)), examples=JOBS_EXAMPLES),
    Verb(("flight", "list"), "the bundles of a run directory: the last minute before each halt, kill and crash",
         "cstd.cli.flight", _flight_list, lambda module, args: int(module.list_bundles(args))),
    Verb(("flight", "save"), "such a bundle now, of a daemon that runs or of one that is gone; `cstd replay` opens it",
         "cstd.cli.flight", _flight_save, lambda module, args: int(module.save(args))),
    Verb(("db", "rebuild"), "the SQLite ledger made anew from the journal", "cstd.projector.rebuild", _db_rebuild),
    Verb(("config", "check"), "every problem, the limits in money, what can be traded, and the memory and disk it takes",
         "cstd.cli.config", _config_check, lambda module, args: int(module.check(args)), examples=CONFIG_CHECK_EXAMPLES),
    Verb(("config", "show"), "the effective configuration and where each key comes from", "cstd.cli.config", _config_show,
         lambda module, args: int(module.show(args))),
    Verb(("agents", "build"), "the agents compiled ahead of time", "cstd.signals.agents.build", _agents_build),
    Verb(("strategy", "build"), "a strategy of your own, compiled, tried and hashed", "cstd.signals.agents.build",
         _strategy_build,
         lambda module, args: int(module.main_strategy(args))),
    *(Verb(("models", word), gives, "cstd.cli.models", add, _named(name), examples=models_words.EXAMPLES)
      for word, gives, add, name in models_words.VERBS),
    Verb(("chaos",), "real faults on this host against a session of their own, and what was true afterwards",
         "cstd.chaos.app", _chaos),
    _admin("state, mode, kill switch, level, instruments", "status"),
    _admin("what the daemon holds", "positions"),
    _admin("orders", "orders", _all),
    _admin("fills", "fills", _all),
    _admin("the fifteen gates: value and limit of the last decision, an opening's or an exit's, and counts", "gates"),
    _admin("one decision, gate by gate, or what was refused in a span of time", "why", _why, WHY_EXAMPLES, "cstd.cli.why"),
    Verb(("execution",), "how well orders were executed: shortfall, markouts, score, fills by queue position",
         "cstd.cli.execution", _execution, examples=EXECUTION_EXAMPLES),
    Verb(("performance",), "the account's value in units, and what its change consists of", "cstd.cli.performance", _performance,
         examples=PERFORMANCE_EXAMPLES),
    _admin("what moves together: clusters with exposure, and correlations of pairs", "clusters", _clusters),
    _admin("every instrument by the net return that the models' scores say, and what the gates would let pass", "opportunities",
           _opportunities, OPPORTUNITIES_EXAMPLES),
    _admin("a tighter limit of the gates from now on; the configuration's is the loosest", "limits set", _limits_set),
    _admin("take back what commands made of a limit", "limits reset", _limits_reset),
    _admin("measure drawdown from the present value on, in two steps, while paused or killed", "limits rebase-peak", _flatten,
           REBASE_EXAMPLES),
    _admin("every limit of the gates: what holds, the configuration's, and who changed it", "limits", _limits),
    _admin("the configuration files read again: what is safe while it trades is taken over, the rest is listed", "reload",
           examples=RELOAD_EXAMPLES),
    _admin("no new openings until resume", "pause", _reason),
    _admin("openings again", "resume", _reason),
    _admin("latch the kill switch: no openings, cancel them all; exits go on unless --hold", "kill", _kill),
    _admin("sell managed inventory, and no new openings until resume", "flatten", _flatten),
    _admin("an opening that waits for an operator may be sent, if the gates still let it", "approve", _approve),
    _admin("an opening that waits for an operator is not sent", "decline", _decline),
    _admin("a token by which you answer on the page what waits for an operator; good for eight hours", "page token", _page_token),
    Verb(("doctor",), "whether this host is fit for the daemon: ok, warning or problem for each thing, and what to do",
         "cstd.cli.doctor", _doctor, examples=DOCTOR_EXAMPLES),
    Verb(("live-check",), "key, clock and account tried with two small real orders: placed, amended, canceled, killed",
         "cstd.cli.live_check", _live_check, examples=LIVE_CHECK_EXAMPLES),
    Verb(("schema",), "JSON Schemas of the configuration and of what -o json prints", "cstd.cli.schemas", _schema,
         examples=SCHEMA_EXAMPLES),
    Verb(("completion",), "the words of this command line for a shell", "cstd.cli.completion", _completion,
         examples=COMPLETION_EXAMPLES),
    Verb(("session",), "practice exchange and daemon under a supervisor: what `make run` starts", "cstd.cli.session",
         _session, hidden=True),
)


def overview() -> str:
    """Return the text of `cstd --help`."""
    shown = [verb for verb in VERBS if not verb.hidden]
    width = max(len(verb.name) for verb in shown)
    lines = [f"  {verb.name:<{width}}  {verb.gives}" for verb in shown]
    return "usage: cstd VERB [options]     cstd VERB --help\n\nA trading daemon for Kraken spot.\n\nverbs:\n" + "\n".join(
        lines) + "\n\n" + EXAMPLES


def find_verb(words: list[str]) -> Verb:
    """Return the verb that argv begins with.

    Raises:
        UsageError: there is none, with the nearest one.
    """
    for verb in VERBS:
        if tuple(words[:len(verb.words)]) == verb.words:
            return verb
    family = [verb for verb in VERBS if verb.words[0] == words[0]]
    if family:
        raise UsageError(f"cstd {words[0]} what?", suggestion="one of " + ", ".join(f"cstd {v.name}" for v in family))
    near = difflib.get_close_matches(words[0], [verb.words[0] for verb in VERBS if not verb.hidden], n=1)
    raise UsageError(f"unknown verb {words[0]!r}", suggestion=f"did you mean cstd {near[0]}?" if near else "see cstd --help")


def parser_of(verb: Verb) -> Parser:
    """Return the parser of a verb's arguments; `practice` has its own, in its package."""
    parser = Parser(prog=f"cstd {verb.name}", description=verb.gives, epilog=verb.examples or None)
    verb.add(parser)
    return parser


def parse(words: list[str]) -> argparse.Namespace | None:
    """Return the arguments of a command line with its verb, or None when it only asked for help or the version.

    Raises:
        UsageError: the command line is wrong.
    """
    import sys

    if not words:
        raise UsageError("a verb is needed", suggestion="see cstd --help")
    if words[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return None
    if words[0] in ("-V", "--version", "version"):
        sys.stdout.write(f"cstd {__version__}\n")
        return None
    verb = find_verb(words)
    parser = parser_of(verb)
    try:
        args = parser.parse_args(words[len(verb.words):])
    except SystemExit:  # argparse has printed the help
        return None
    args.verb = verb
    return args
