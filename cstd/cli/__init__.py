"""The command line: verbs, their arguments, exit codes.

Purpose: turn argv into one call of the module that does the work, and its outcome into an exit code.
Takes: argv, the environment (`CSTD__...`, `NO_COLOR`, `NOTIFY_SOCKET`), a terminal or a pipe.
Gives: data on stdout and nothing else there; diagnostics on stderr; with `-o json` errors as one JSON object.
Owns: nothing, except `session`, which owns the run directory of a `make run` and the two processes in it.
Invariants: a verb's module is imported only when that verb runs, so `cstd --help` starts at once; exit codes are
    0 ok, 1 failure, 2 usage, 3 verification failed, 78 configuration, 130 and 143 when a second signal ends it;
    no traceback for an error the operator can act on.
Fails by: printing the error with its suggestion and returning the exit code of its class.
Try it: `cstd --help`, `cstd config check -c config/practice.toml`
"""
