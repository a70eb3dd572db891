"""The scorer process: probabilities for all instruments, from the model in production, beside the trading process.

Purpose: run models without running them in the trading process, and never let a score be older than it looks.
Takes: the sheet of features (`scorer-features`, one row an instrument), the production version of a model, verified.
Gives: the sheet of scores (`scorer-scores`, one row an instrument and horizon) with the feature row's event time, the time
    of the score and the model's hash; in its note the state, why there are none, and what each session really runs on.
Owns: the sheet of scores. The sheet of features is the trading process's.
Invariants: a model is opened from bytes that were verified, never from a path; asked for a GPU it scores on one or not at all;
    a row with a feature that is not valid, or with a result that is no number, has no probability; a torn read is
    repeated, never used.
Fails by: no rows and a note that says why; the process ends only for what a restart can mend.
Try it: `python -m cstd.signals.scorer --help`

Why this way: shared memory and counters, no socket: a batch is a few kilobytes that only the newest of matters, and neither side
can hold up the other.
"""
