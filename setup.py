"""Build the compiled core: every `cstd/**/*.pyx` is one extension module.

Metadata lives in pyproject.toml; this file lists extensions and flags only.

`CSTD_DEBUG=1` builds the checked variant: the bounds checks of Cython where it has them, C asserts, and the address and
undefined-behaviour sanitizers, which see the raw pointers that Cython's checks do not. Its modules load only where the
sanitizer's library was preloaded: `make sanitize` does that.
`CSTD_NO_STAGES=1` builds the path without its stage timers, in a copy of the tree: bench/measuring.py does.
`CSTD_ONLY=book,wire` builds only the modules of these names, for work on one of them; `CSTD_ONLY=none` builds none.
A neighbouring C file is named in the head of its .pyx: `# distutils: sources = cstd/_fast/csrc/name.c`.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CSTD_DEBUG") == "1"
ONLY = {name for name in os.environ.get("CSTD_ONLY", "").split(",") if name}

# No -march=native: the machine that runs is not always the machine that built, so instructions are chosen at run time.
# No contraction and no fast-math: the same inputs must give the same bits on every host.
# -g0: debug information doubles the time gcc takes over what Cython generates, and nobody reads it in a release.
RELEASE_FLAGS = ["-O3", "-g0", "-DNDEBUG"]
if platform.machine() == "x86_64":
    # Scheduling for what servers have had since 2015; the instructions stay those of every x86-64. 3 % of the path.
    RELEASE_FLAGS.append("-mtune=skylake")
# -fno-wrapv: Python builds its modules with -fwrapv, under which an overflow of ours would be no error.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
DEBUG_FLAGS = ["-O1", "-g", "-UNDEBUG", "-DCSTD_DEBUG=1", "-fno-wrapv", *SANITIZERS]
COMMON_FLAGS = ["-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-std=gnu11"]

STAGES = [("CSTD_NO_STAGES", "1")] if os.environ.get("CSTD_NO_STAGES") == "1" else []

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
}


def picows_include() -> str:
    """Return the folder of the installed picows, whose .pxd refers to headers beside it."""
    import picows

    return str(Path(picows.__file__).parent)


def extensions() -> list[Extension]:
    """Return one Extension for each .pyx below cstd/."""
    include_dirs = ["cstd/_fast/csrc", np.get_include(), picows_include()]
    return [
        Extension(
            ".".join(path.with_suffix("").parts),
            [str(path)],
            include_dirs=include_dirs,
            extra_compile_args=COMMON_FLAGS + (DEBUG_FLAGS if DEBUG else RELEASE_FLAGS),
            extra_link_args=["-pthread", *(SANITIZERS if DEBUG else [])],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), *STAGES],
            depends=sorted(str(header) for header in Path("cstd/_fast/csrc").glob("*.h")),
        )
        for path in sorted(Path("cstd").rglob("*.pyx"))
        if not ONLY or path.stem in ONLY
    ]


class ParallelBuildExt(build_ext):
    """Compiles two extensions at a time; each C file here is small and independent."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = 2


setup(
    ext_modules=cythonize(
        extensions(),
        compiler_directives=DIRECTIVES,
        nthreads=2,
        # Two builds of the same sources with different directives must not share generated files.
        build_dir="build/cython-debug" if DEBUG else "build/cython",
    ),
    cmdclass={"build_ext": ParallelBuildExt},
)
