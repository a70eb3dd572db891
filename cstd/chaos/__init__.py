"""`cstd chaos`: real faults against a real daemon and the practice exchange, on this host, and what was true afterwards.

Purpose: show with kill -9, SIGSTOP, full disks, failing fsync, cut networks, stepped clocks and killed children that no order
    is lost or sent twice, no fill missed or counted twice, and that the user's own coins stay where they are.
Takes: the shipped practice configuration, or one given with -c whose mode is practice; a seed.
Gives: one outcome for each fault (passed, failed, not-run with the reason), a tally of kill -9 that later runs go on from, and
    the judge that the integration tests use.
Owns: a temporary session directory for each session, its processes, and the mount or namespace a fault needs.
Invariants: no configured session is touched and no key is read; what could not be done here is never counted as passed;
    everything is gone at the end, unless a promise broke: then the session directory stays and its name is printed.
Fails by: exit 3 when a promise broke, with the seed; exit 1 when nothing could run; exit 2 for a configuration of another mode.
Try it: `cstd chaos --faults kill9,stop --kills 3`

Why this way: the daemon is the installed one in processes of its own, the exchange's truth file is written by code that shares
nothing with the daemon's engine, and the judge reads both from outside. A layer above the daemon, because it starts it.
"""
