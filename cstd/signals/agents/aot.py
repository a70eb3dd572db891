"""Compile agents, or a strategy, ahead of time. A child process of the build:
`python -m cstd.signals.agents.aot KIND SOURCES OUT`.

Each kernel goes through numba to LLVM IR, to an object for one fixed generic processor, and with a C shim into one
shared object. The shim gives the few names numba's wrapper refers to: where numba would take the GIL and print an
exception, it sets a flag, and the C function returns a fault. So the object needs neither Python nor libm, and
anything else it would need (exp, a heap allocation) is an error of the build that names it.

Prints one JSON object on stdout: what it compiled. Exit 1 with a message on stderr when the build is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import carray, types  # type: ignore[attr-defined]

from cstd.errors import CstdError, OperatorError
from cstd.signals.agents import sources
from cstd.signals.agents.api import FAULT, FEATURE_COUNT, STATE_WORDS, VALID_WORDS, VOTE_WORDS
from cstd.signals.agents.kinds import AGENTS, KINDS, Kind
from cstd.signals.agents.target import target_cpu
from cstd.signals.strategies import api as strategies

LINK_TIMEOUT_S = 60
HEADERS = Path(__file__).parents[2] / "_fast" / "csrc"

# What a compiler may always call, and what gives the same result everywhere.
ALLOWED_UNDEFINED = {"memcpy", "memset", "memmove"}

SHIM = """
#include <stddef.h>
#include <stdint.h>
#define HIDDEN __attribute__((visibility("hidden")))
static int faulted;
HIDDEN void *PyExc_StopIteration, *PyExc_SystemError, *PyExc_RuntimeError;
HIDDEN void NRT_Free(void *m) { (void)m; }
HIDDEN void *PyBytes_FromStringAndSize(const char *s, long n) { (void)s; (void)n; return NULL; }
HIDDEN void NRT_MemInfo_call_dtor(void *m) { (void)m; faulted = 1; }
HIDDEN void numba_gil_ensure(int *s) { (void)s; faulted = 1; }
HIDDEN void numba_gil_release(int *s) { (void)s; }
HIDDEN void *numba_unpickle(const char *d, int n, const char *h) { (void)d; (void)n; (void)h; return NULL; }
HIDDEN void *numba_runtime_build_excinfo_struct(void *a, void *b) { (void)a; (void)b; return NULL; }
HIDDEN int numba_do_raise(void *e) { (void)e; faulted = 1; return 0; }
HIDDEN void *PyUnicode_FromString(const char *s) { (void)s; return NULL; }
HIDDEN void PyErr_WriteUnraisable(void *o) { (void)o; }
HIDDEN void PyErr_Clear(void) {}
HIDDEN void PyErr_SetNone(void *e) { (void)e; }
HIDDEN void PyErr_SetString(void *e, const char *s) { (void)e; (void)s; }
HIDDEN void Py_DecRef(void *o) { (void)o; }
"""

AGENT_ENTRY = """
HIDDEN int32_t kernel_{name}(const double *, const uint64_t *, double *, double *);
int32_t cstd_agent_{name}(const double *features, const uint64_t *valid, double *state, double *vote) {{
    faulted = 0;
    int32_t status = kernel_{name}(features, valid, state, vote);
    return faulted ? {fault} : status;
}}
"""

# The parameters stand in the object, so that its hash is of their names and defaults too.
STRATEGY_ENTRY = """
#include "strategy.h"
const char cstd_strategy_params[] = "{params}";
HIDDEN int32_t kernel_{name}(const int64_t *, const double *, const uint64_t *, int64_t *, const int64_t *, int64_t *);
int cstd_strategy_{name}(const cstd_strategy_view *view, int64_t *state, cstd_wish *wish) {{
    int64_t words[CSTD_WISH_WORDS] = {{0}};
    faulted = 0;
    int32_t status = kernel_{name}((const int64_t *)view, view->features, view->valid, state, view->params, words);
    if (faulted || status < 0 || status > {last} || words[{URGENCY}] < 0 || words[{URGENCY}] > 1)
        return {fault};
    if (status == {NOTHING})
        return 0;
    wish->kind = status - 1;
    if (status >= {CANCEL_BID})
        return 1;
    wish->qty_raw = words[{QTY_RAW}];
    wish->price_raw = status == {EXIT} ? 0 : words[{PRICE_RAW}];
    wish->lifetime_ns = status == {EXIT} ? 0 : words[{LIFETIME_NS}];
    wish->episode = words[{EPISODE}];
    wish->urgency = (int32_t)words[{URGENCY}];
    return 1;
}}
"""

# The arrays that a kernel is given, in order: the item, how many, and whether it may be written.
ARRAYS: dict[str, tuple[tuple[Any, int, bool], ...]] = {
    "agent": ((types.float64, FEATURE_COUNT, False), (types.uint64, VALID_WORDS, False), (types.float64, STATE_WORDS, True),
              (types.float64, VOTE_WORDS, True)),
    "strategy": ((types.int64, strategies.VIEW_WORDS, False), (types.float64, FEATURE_COUNT, False),
                 (types.uint64, VALID_WORDS, False), (types.int64, strategies.STATE_WORDS, True),
                 (types.int64, strategies.PARAMS_MAX, False), (types.int64, strategies.WISH_WORDS, True)),
}


def entry_text(source: sources.Source) -> str:
    """Return the C function around a kernel."""
    if source.kind is AGENTS:
        return AGENT_ENTRY.format(name=source.name, fault=FAULT)
    words = {word.name: int(word) for word in strategies.Wish}
    return STRATEGY_ENTRY.format(
        name=source.name, fault=FAULT, params=params_text(source.item.params), last=max(strategies.CANCELS),
        NOTHING=strategies.NOTHING, EXIT=strategies.EXIT, CANCEL_BID=strategies.CANCEL_BID, **words)


def params_text(params: Mapping[str, int]) -> str:
    """Return parameters as they stand in an object: names with their defaults, in order."""
    return " ".join(f"{name}={value}" for name, value in params.items())


def signature(kind: Kind) -> Any:
    """Return numba's signature of a kernel; what it only reads is read-only, so writing it does not compile."""
    return types.int32(*(types.Array(item, 1, "C", readonly=not written) for item, _, written in ARRAYS[kind.word]))


def compiled(source: sources.Source, *, boundscheck: bool) -> Any:
    """Return the kernel compiled by numba.

    Raises:
        OperatorError: numba cannot compile it, or it does not return an integer status.
    """
    try:
        return numba.njit(signature(source.kind), error_model="numpy", boundscheck=boundscheck)(source.item.kernel)
    except numba.core.errors.NumbaError as error:
        raise OperatorError(f"{source.kind.word} {source.name} ({source.path.name}) does not compile: {error}") from error


def caller(kind: Kind, kernel: Any) -> Any:
    """Return the function over pointers that calls a kernel with arrays; numba takes no starred arguments of arrays."""
    sizes = tuple(size for _, size, _ in ARRAYS[kind.word])
    if kind is AGENTS:
        features_n, valid_n, state_n, vote_n = sizes

        def ask_agent(features, valid, state, vote):  # type: ignore[no-untyped-def]
            return kernel(carray(features, (features_n,)), carray(valid, (valid_n,)), carray(state, (state_n,)),
                          carray(vote, (vote_n,)))
        return ask_agent
    view_n, row_n, bits_n, own_n, params_n, wish_n = sizes

    def ask_strategy(view, features, valid, state, params, wish):  # type: ignore[no-untyped-def]
        return kernel(carray(view, (view_n,)), carray(features, (row_n,)), carray(valid, (bits_n,)), carray(state, (own_n,)),
                      carray(params, (params_n,)), carray(wish, (wish_n,)))
    return ask_strategy


def object_code(source: sources.Source) -> bytes:
    """Return the position-independent object of one source, with its function named kernel_<name>."""
    call = caller(source.kind, compiled(source, boundscheck=False))
    pointer: Any = types.CPointer
    pointers = [pointer(item) for item, _, _ in ARRAYS[source.kind.word]]
    entry: Any = numba.cfunc(types.int32(*pointers), error_model="numpy")(call)
    module = llvm.parse_assembly(entry._library.get_llvm_str())
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        cpu=target_cpu(), features="", opt=3, reloc="pic", codemodel="small")
    name = f"kernel_{source.name}"
    module.get_function(entry._wrapper_name).name = name
    inline(module, name, machine)
    module.verify()
    code: bytes = machine.emit_object(module)
    return code


def inline(module: Any, entry: str, machine: Any) -> None:
    """Fold what numba left as functions of their own into the entry.

    numba's wrappers pass sixteen words of array descriptors through three calls; in one function nothing of them is left.
    """
    for function in module.functions:
        if not function.is_declaration and function.name != entry:
            function.linkage = "internal"
            if not any(b"noinline" in attributes for attributes in function.attributes):
                function.add_function_attribute("alwaysinline")
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)


def link(kind: Kind, found: list[sources.Source], out: Path) -> None:
    """Compile the sources and link them with the shim into one object in `out`.

    Raises:
        OperatorError: no C compiler, linking failed, or a kernel needs a function from outside.
    """
    shim = out / "shim.c"
    shim.write_text(SHIM + "".join(entry_text(source) for source in found))
    exports = out / "exports.map"
    exports.write_text(f"{{ global: {kind.symbol('*')}; local: *; }};\n")
    files = []
    for source in found:
        files.append(out / f"{source.name}.o")
        files[-1].write_bytes(object_code(source))
    library = out / kind.library
    run(["gcc", "-shared", "-fPIC", "-O2", "-nostdlib", "-Wl,--build-id=none", f"-Wl,--version-script={exports}",
         "-Wl,-z,relro,-z,noexecstack", f"-I{HEADERS}", "-o", str(library), str(shim), *map(str, files)])
    listed = run(["nm", "-D", "--undefined-only", str(library)]).split()
    outside = sorted(set(listed) - {"U", "w"} - ALLOWED_UNDEFINED)
    if outside:
        raise OperatorError(
            f"{kind.files} need functions from outside: {', '.join(outside)}",
            suggestion="use + - * / and comparisons only: libm and memory allocation differ between hosts or can stall")


def run(command: list[str]) -> str:
    """Run a tool and return its stdout.

    Raises:
        OperatorError: it is not installed, failed or took too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LINK_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise OperatorError(f"{command[0]} is not installed; building needs a C compiler") from None
    except subprocess.TimeoutExpired:
        raise OperatorError(f"{command[0]} took more than {LINK_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise OperatorError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def main(argv: list[str]) -> int:
    """Compile what argv[1] holds of the kind argv[0] into the folder argv[2]; print it as JSON."""
    kind = KINDS[argv[0]]
    try:
        found = sources.read(Path(argv[1]), kind)
        link(kind, found, Path(argv[2]))
    except CstdError as error:
        print(json.dumps(error.to_json()), file=sys.stderr)
        return error.exit_code
    print(json.dumps({"cpu": target_cpu(), "numba": numba.__version__, "items": [_row(source) for source in found]}))
    return 0


def _row(source: sources.Source) -> dict[str, Any]:
    told = {"per": source.item.per} if source.kind is AGENTS else {"params": dict(source.item.params)}
    return {"name": source.name, **told, "source": source.path.name, "source_sha256": source.sha256}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
