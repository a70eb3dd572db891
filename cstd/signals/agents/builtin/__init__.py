"""The agents that come with cstd, as sources. The build reads the files one by one; nothing imports them as a package.

Purpose: be useful votes, and be the example a user copies.
Takes: the feature row.
Gives: votes of `microstructure` (each book update) and `technical` (each bar close).
Owns: nothing but the agents' own state rows.
Invariants: written with `api` and `kernels` alone, as any user's agent.
Fails by: abstaining when a feature they need is not valid.
Try it: `cstd agents build`
"""
