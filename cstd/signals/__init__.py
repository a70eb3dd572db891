"""What the engine listens to besides prices: agents, and strategies of a user's own; later scores, regimes and ensembles.

Purpose: turn the feature row into votes, each from an agent that can be read, replaced and tested by itself.
Takes: feature rows (cstd._fast.features), one per instrument; folders of agent sources, files of strategies.
Gives: votes (direction -1, 0, +1 and confidence 0..1) and, for the engine, addresses of compiled agents and strategies, by the
    hashes that a journal names (`code`).
Owns: the agents' state rows are the engine's; this package owns sources, builds and their manifests.
Invariants: an agent reads features and its own state alone; it has no clock, no random source, no heap, no libm; a
    vote counts only with status 1; nothing is loaded whose hash differs from its manifest.
Fails by: OperatorError when a build is refused or does not match; at run time an agent abstains or faults by status.
Try it: `cstd agents build` and then `python -c "from cstd.signals.agents import loader as l; print(l.load().names)"`

Why this way: votes are cheap (tens of ns) and judged by gates they cannot reach, so agents may be many and written by
users; the border between them and money is the status code and the gateway, not trust.
"""
