"""Compile agents ahead of time. A child process of the build: `python -m cstd.signals.agents.aot SOURCES OUT`.

Each kernel goes through numba to LLVM IR, to an object for one fixed generic processor, and with a C shim into
`agents.so`. The shim gives the few names numba's wrapper refers to: where numba would take the GIL and print an
exception, it sets a flag, and the agent's C function returns a fault. So the object needs neither Python nor libm, and
anything else it would need (exp, a heap allocation) is an error of the build that names it.

Prints one JSON object on stdout: the agents. Exit 1 with a message on stderr when the build is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import carray, types  # type: ignore[attr-defined]

from cstd.errors import CstdError, OperatorError
from cstd.signals.agents import sources
from cstd.signals.agents.api import FAULT, FEATURE_COUNT, STATE_WORDS, VALID_WORDS, VOTE_WORDS
from cstd.signals.agents.target import target_cpu

LINK_TIMEOUT_S = 60

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

ENTRY = """
HIDDEN int32_t kernel_{name}(const double *, const uint64_t *, double *, double *);
int32_t cstd_agent_{name}(const double *features, const uint64_t *valid, double *state, double *vote) {{
    faulted = 0;
    int32_t status = kernel_{name}(features, valid, state, vote);
    return faulted ? {fault} : status;
}}
"""


def signature() -> Any:
    """Return numba's signature of a kernel; features and valid are read-only, so writing them does not compile."""
    def vector(item: Any, *, readonly: bool) -> Any:
        return types.Array(item, 1, "C", readonly=readonly)

    return types.int32(vector(types.float64, readonly=True), vector(types.uint64, readonly=True),
                       vector(types.float64, readonly=False), vector(types.float64, readonly=False))


def compiled(source: sources.Source, *, boundscheck: bool) -> Any:
    """Return the kernel compiled by numba.

    Raises:
        OperatorError: numba cannot compile it, or it does not return an integer status.
    """
    try:
        return numba.njit(signature(), error_model="numpy", boundscheck=boundscheck)(source.agent.kernel)
    except numba.core.errors.NumbaError as error:
        raise OperatorError(f"agent {source.agent.name} ({source.path.name}) does not compile: {error}") from error


def object_code(source: sources.Source) -> bytes:
    """Return the position-independent object of one agent, with its function named kernel_<name>."""
    kernel = compiled(source, boundscheck=False)
    pointer: Any = types.CPointer
    pointers = [pointer(t) for t in (types.float64, types.uint64, types.float64, types.float64)]

    def call(features, valid, state, vote):  # type: ignore[no-untyped-def]
        return kernel(carray(features, (FEATURE_COUNT,)), carray(valid, (VALID_WORDS,)),
                      carray(state, (STATE_WORDS,)), carray(vote, (VOTE_WORDS,)))

    entry: Any = numba.cfunc(types.int32(*pointers), error_model="numpy")(call)
    module = llvm.parse_assembly(entry._library.get_llvm_str())
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        cpu=target_cpu(), features="", opt=3, reloc="pic", codemodel="small")
    name = f"kernel_{source.agent.name}"
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


def link(objects: dict[str, bytes], out: Path) -> None:
    """Link the objects and the shim into out/agents.so.

    Raises:
        OperatorError: no C compiler, linking failed, or an agent needs a function from outside.
    """
    shim = out / "shim.c"
    shim.write_text(SHIM + "".join(ENTRY.format(name=name, fault=FAULT) for name in objects))
    exports = out / "exports.map"
    exports.write_text("{ global: cstd_agent_*; local: *; };\n")
    files = []
    for name, code in objects.items():
        files.append(out / f"{name}.o")
        files[-1].write_bytes(code)
    library = out / "agents.so"
    run(["gcc", "-shared", "-fPIC", "-O2", "-nostdlib", "-Wl,--build-id=none", f"-Wl,--version-script={exports}",
         "-Wl,-z,relro,-z,noexecstack", "-o", str(library), str(shim), *map(str, files)])
    listed = run(["nm", "-D", "--undefined-only", str(library)]).split()
    outside = sorted(set(listed) - {"U", "w"} - ALLOWED_UNDEFINED)
    if outside:
        raise OperatorError(
            f"agents need functions from outside: {', '.join(outside)}",
            suggestion="use + - * / and comparisons only: libm and memory allocation differ between hosts or can stall")


def run(command: list[str]) -> str:
    """Run a tool and return its stdout.

    Raises:
        OperatorError: it is not installed, failed or took too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LINK_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise OperatorError(f"{command[0]} is not installed; building agents needs a C compiler") from None
    except subprocess.TimeoutExpired:
        raise OperatorError(f"{command[0]} took more than {LINK_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise OperatorError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def main(argv: list[str]) -> int:
    """Compile the folder argv[0] into the folder argv[1]; print the agents as JSON."""
    try:
        found = sources.read(Path(argv[0]))
        link({source.agent.name: object_code(source) for source in found}, Path(argv[1]))
    except CstdError as error:
        print(json.dumps(error.to_json()), file=sys.stderr)
        return error.exit_code
    print(json.dumps({
        "cpu": target_cpu(),
        "numba": numba.__version__,
        "agents": [{"name": s.agent.name, "per": s.agent.per, "source": s.path.name, "source_sha256": s.sha256}
                   for s in found],
    }))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
