"""Scheduled jobs: one table of what runs by itself, a runner, and a record of each run.

Purpose: the statement, the backup and the routine proofs happen without anybody, and what does not happen is seen.
Takes: the name of a job, a run directory, what the daemon says of its own health.
Gives: a child process with a time limit, its exit code, and rows for `cstd jobs list`, `/api/v1/jobs` and `/metrics`.
Owns: `jobs/NAME.json` and `jobs/NAME.lock` beside the journal; the process that holds the lock writes the record, nobody else.
Invariants: one run of a job at a time; a record is there whole or as it was before; it keeps the newest RUNS_KEPT attempts and
counts all; no shell; no child outlives its limit or its runner; what another try cannot change is not tried again.
Fails by: OperatorError (it runs already, or the record cannot be written); what went wrong in the job is in its record.

Try it: `make run FOR=30`, then `cstd jobs run journal-verify` and `cstd jobs list`
"""
