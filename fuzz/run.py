"""Run one target under libFuzzer: `python -m fuzz.run TARGET [libFuzzer options]`.

Environment (once): `.venv/bin/python -m pip install --target build/fuzz-env --no-deps -r fuzz/requirements.txt`, then
`PYTHONPATH=build/fuzz-env`. With modules built by gcc's `-fsanitize-coverage=trace-pc,trace-cmp` and `coverage.c` preloaded
(`fuzz/build.sh` does both, in a copy of the tree) the compiled code is covered too; without, only the oracle guides it.

New inputs go to build/fuzz/TARGET; what is worth keeping is copied to fuzz/corpus/TARGET by `-merge=1`.
"""

from __future__ import annotations

import ctypes
import random
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


FUNCTIONS = ("8bit_counters_init", "pcs_init", *(f"trace_{const}cmp{size}" for const in ("", "const_") for size in (1, 2, 4, 8)),
             "trace_switch")


def connect_coverage() -> bool:
    """Tell libFuzzer of the compiled code's counters, where coverage.c is preloaded; False where it is not."""
    import atheris

    try:
        register = ctypes.CDLL(None).cstd_coverage_register
    except AttributeError:
        return False
    libfuzzer = ctypes.CDLL(str(next(Path(atheris.__file__).parent.glob("core_with_libfuzzer*.so"))))
    addresses = [ctypes.cast(getattr(libfuzzer, f"__sanitizer_cov_{name}"), ctypes.c_void_p).value for name in FUNCTIONS]
    register((ctypes.c_void_p * len(addresses))(*addresses))
    return True


def main() -> None:
    """Fuzz the target that the first argument names until an input fails or an option ends it."""
    name = sys.argv.pop(1)
    covered = connect_coverage()
    import atheris

    with atheris.instrument_imports(include=["fuzz.targets"]):
        from fuzz.targets import TARGETS
    from fuzz.mutate import mutated

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        source = random.Random(seed)
        if source.random() < 0.5:
            return atheris.Mutate(data, size_max)[:size_max]
        return mutated(data, source)[:size_max]

    kept = REPOSITORY / "fuzz" / "corpus" / name
    found = REPOSITORY / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    folders = [] if any(not arg.startswith("-") for arg in sys.argv[1:]) else [str(found), str(kept)]
    print(f"target {name}, compiled code {'covered' if covered else 'not covered'}", file=sys.stderr)
    atheris.Setup([*sys.argv, f"-artifact_prefix={found.parent}/{name}-", *folders], TARGETS[name], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
