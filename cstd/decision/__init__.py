"""What may be done: strategies wish, limits and levels bound, the kill switch ends; why explains each decision.

Purpose: everything about a decision except the fifteen gates themselves, which are compiled (`cstd/_fast/csrc/gates.h`).
Takes: a `Config`; loss and drawdown in basis points and marks as events; decision rows of the gates.
Gives: `limits.limits_row` (what the gates compare with), `operator_limits.OperatorLimits` (what commands make of it),
    `levels.LevelLatch`, `kill.KillSwitch`, `setup.strategy_setup`, `why.explain` and `why.waterfall`, `why.GATES`,
    `names.instrument_named` and `names.gate_named` (what an operator's words mean).
Owns: the latched level, the kill latch and the commands on limits, written by the engine alone; all come back from the journal.
Invariants: no clock, no float and no random source: time comes in as nanoseconds, money and limits are ints or
    Decimals. A loss level rises by itself and falls by an operator only. A kill is cleared in two steps and followed
    by a time in which nothing is sent.
Fails by: `ConfigError` where a limit does not fit its integer; a refusal by a gate or a latch is a value.
Try it: `cstd why --last` on a running daemon; `cstd config check -c config/live.toml` for the limits in money.
"""
