"""The examples that `--help` shows, by verb."""

from __future__ import annotations

EXAMPLES = """\
examples:
  cstd practice --run-dir .run/two             the practice exchange on loopback, in one shell ...
  cstd run -c config/practice.toml --run-dir .run/two     ... and the daemon trading on it, in another
  cstd status --run-dir .run/two               what that daemon does
  cstd status -o json                          what it is doing
  cstd why --last                              the latest decision, gate by gate
  cstd limits set policy.spread_bps_max 20     a tighter limit from now on, until `cstd limits reset`
  cstd kill --yes                              latch the kill switch, cancel everything
  cstd replay .run/current/journal --check     recompute every decision of a session
  cstd config check -c config/live.toml        every problem, and the limits in money
  cstd doctor -c config/live.toml              what of this host stands in the way
  cstd why --since 10m                         what kept it from trading in the last ten minutes

exit codes: 0 ok, 1 failure, 2 usage, 3 verification failed, 78 configuration, 130 and 143 ended by a second signal
"""
CONFIG_CHECK_EXAMPLES = """\
examples:
  cstd config check -c config/live.toml
  cstd config check -c config/practice.toml --session .run/current     with the minimums and the equity of a session
"""
BACKUP_EXAMPLES = """\
examples:
  cstd backup /mnt/elsewhere/cstd                       begin it, or add what there is since
  cstd restore /mnt/elsewhere/cstd --run-dir /run/cstd  on a host that has nothing
"""
WHY_EXAMPLES = """\
examples:
  cstd why --last                                 the latest decision, gate by gate
  cstd why --last --refused-by spread             the latest one that the spread refused
  cstd why --count 20 --instrument BTC/USD        the latest twenty of an instrument, a line each
  cstd why --since 10m                            why nothing traded in the last ten minutes
  cstd why --since 2026-08-02T10:00:00Z --run-dir .run/20260802T095500 -o json
"""
REPLAY_EXAMPLES = """\
examples:
  cstd replay .run/current --check                every decision, order and ledger row made again and compared
  cstd replay .run/current --rescore -o table     the models on the same rows again, their scores beside those in the journal
  cstd replay .run/current --set policy.spread_bps_max=20 -o table     which of its own orders that would not
                                                  have sent, what they brought, and the market traded anew with it

Exit 3 where something differs. docs/replay.md
"""
DOCTOR_EXAMPLES = """\
examples:
  cstd doctor
  cstd doctor -c config/live.toml -o json         exit 1 when there is a problem; warnings alone are exit 0
  cstd doctor -c config/practice.toml --venue     asks the practice exchange for its time

Nothing but --venue uses the network. No key is ever shown. Limits are those of the shell it runs in; as the service has
them, it tells with `ExecStartPre=-cstd doctor -c FILE` in the unit.
"""
LIVE_CHECK_EXAMPLES = """\
examples:
  cstd live-check -c config/live.toml                     asks before it sends anything
  cstd live-check -c config/live.toml --instrument ETH/USD --yes -o json
  cstd live-check -c config/practice.toml --run-dir .run/two     beside `cstd practice --run-dir .run/two`

Two post-only buys near the venue's least size, well below the market, one after the other. What they prove: docs/live-check.md.
"""
SCHEMA_EXAMPLES = """\
examples:
  cstd schema                                     the names
  cstd schema config > cstd.schema.json           of a configuration file: editors complete and check TOML with it
  cstd schema status                              of what `cstd status -o json` prints
  cstd schema config check

Outputs may get new keys in a later version; what is here keeps its name and its type.
"""
COMPLETION_EXAMPLES = """\
to install:
  cstd completion bash > ~/.local/share/bash-completion/completions/cstd
  cstd completion zsh > ~/.zfunc/_cstd            with `fpath=(~/.zfunc $fpath)` before `compinit` in ~/.zshrc
  cstd completion fish > ~/.config/fish/completions/cstd.fish

for this shell only:
  source <(cstd completion bash)
"""
RELOAD_EXAMPLES = """\
examples:
  cstd config check -c /etc/cstd/live.toml        before it: every problem
  cstd reload --run-dir /run/cstd                 tighter limits and the log's level now; what needs a restart is named
  cstd reload --run-dir /run/cstd -o json

Files that are wrong change nothing: exit 78, with every problem. docs/reload.md
"""
JOBS_EXAMPLES = """\
examples:
  cstd jobs list                                  every job, how it stands, and why
  cstd jobs list --run-dir /run/cstd -o json
  cstd jobs run journal-verify                    one now, as its timer would
  cstd jobs run backup --once --limit 2h          one attempt, with more time than its own limit of five minutes

Which there are, and what starts them: docs/jobs.md.
"""
EXECUTION_EXAMPLES = """\
examples:
  cstd execution                                  every order of the session, in basis points; positive is cost
  cstd execution --since 1d --instrument BTC/USD
  cstd execution --orders 20                      the newest twenty that have a fill, a line each

What each figure is: docs/execution.md.
"""

PERFORMANCE_EXAMPLES = """\
examples:
  cstd performance                                since the journal's first agreed balances
  cstd performance --since 1d                     the last day: flows, alpha, slippage, fees ... and what a unit gained
  cstd performance --run-dir .run/current -o json

What each part is, and how it is rounded: docs/performance.md.
"""

OPPORTUNITIES_EXAMPLES = """\
examples:
  cstd opportunities                              three rankings: of the next hour, four hours, and day
  cstd opportunities --horizon 4h
  cstd opportunities --instrument BTC/USD -o json     asked of the gates now

Nothing is ordered by it, and nothing is promised: every figure has its interval. docs/opportunities.md
"""

REBASE_EXAMPLES = """\
examples:
  cstd pause --reason "drawdown looked into"      it is refused while openings are possible
  cstd limits rebase-peak                         shows peak, value and drawdown, asks, and sets the peak
  cstd resume                                     lowers the level that the drawdown had latched, and opens again

Loss of the day is not touched: it leaves with the day and its 24 hours. docs/limits.md
"""

AUDIT_EXAMPLES = """\
examples:
  cstd audit                                      every command, start and stop of the session
  cstd audit --since 1d --verb limits_set
  cstd audit /mnt/elsewhere/cstd -o json          of a backup, a line each

result: taken, refused, or asked: the first of two steps, which changed nothing; - where the journal is
older than records of it, and only a replay can tell.
Exit 3 where the journal is not what was written. docs/access.md
"""

EXPORT_EXAMPLES = """\
examples:
  cstd export fills > fills.csv                   every fill of the session, with its fees
  cstd export orders --since 1d --run-dir /run/cstd
  cstd export marks --since 2026-08-02            the account's worth, minute by minute

Columns: docs/ledger-db.md
"""
