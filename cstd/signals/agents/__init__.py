"""Agents: small kernels over the feature row, written in Numba's Python, compiled ahead of time.

Purpose: let a user write an agent in a few lines of Python and run it in the engine at the cost of a C call.
Takes: a folder of source files, each with one `AGENT = Agent(name, kernel, per=...)`.
Gives: `agents.so` with one C function per agent and `agents.json`, its manifest; `loader.load` gives addresses.
Owns: the C interface of an agent (`api`), the build of agents and strategies (`build`, with `aot` and `selftest` in child
    processes; `kinds` says what differs), the
    built-in agents (`builtin/`, written exactly as a user would) and their compiled form (`prebuilt/`).
Invariants: the process that loads agents never imports numba; the object needs no other library, so the same build
    gives the same votes on every host; a vote is -1, 0 or +1 with confidence 0..1; an agent that breaks a rule in the
    self-test is never written to the output folder.
Fails by: OperatorError that names the agent and the rule; at run time a negative status (a fault).
Try it: `cstd agents build --source cstd/signals/agents/builtin --out /tmp/agents`

Why this way: importing numba costs the trading process 151 MB and half a second, and compiling in it would break the
rule that nothing compiles after start. A C function over four pointers is about 10 ns to call and easy to journal by
its hash.
"""
