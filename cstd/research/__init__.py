"""Work on recorded data: what is done off the trading path, with the engine's own kernels.

Purpose: look at bars and recordings with exactly the code that trades, so that what is studied is what will run.
Takes: bar files and recordings that the operator names on the command line.
Gives: tables on stdout (`cstd features`), and reports of the other verbs in this package.
Owns: nothing; it writes no state of the daemon.
Invariants: never imported by the trading process; nothing is interpolated or filled; bad input is refused with its
    line, not repaired.
Fails by: OperatorError with file, line and reason, exit 1.
Try it: `cstd features --bars bars.csv -o csv`

Why this way: one implementation serves streaming and batch, so there is no second indicator library to disagree with.
"""
