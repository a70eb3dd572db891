"""The process of the bare picows listener (bare.pyx): the lower bound that the daemon is compared with.

    python bench/live/bare.py answer IN_URL OUT_URL BYTES     answer each frame on a second connection
    python bench/live/bare.py count URL                       receive and count, answer pings
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "bench-live"
READ_BUFFER_BYTES = 1024 * 1024

SETUP = """
import picows, sys
from pathlib import Path
from Cython.Build import cythonize
from setuptools import Extension, setup
source, build = sys.argv.pop(), sys.argv.pop()
setup(script_args=["--quiet", "build_ext", "--build-lib", build, "--build-temp", build + "/tmp"], ext_modules=cythonize(
    [Extension("bare", [source], include_dirs=[str(Path(picows.__file__).parent)], extra_compile_args=["-O3", "-g0"])],
    build_dir=build, quiet=True))
"""


def build() -> Path:
    """Compile bare.pyx where it is newer than what is there; returns the folder of the module."""
    source = HERE / "bare.pyx"
    built = sorted(BUILD.glob("bare.*.so"))
    if not built or built[0].stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([sys.executable, "-c", SETUP, str(BUILD), str(source)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"bench/live/bare.pyx does not compile:\n{done.stderr[-2000:]}")
    return BUILD


def module() -> ModuleType:
    """The compiled listeners."""
    path = next(iter(sorted(build().glob("bare.*.so"))))
    spec = importlib.util.spec_from_file_location("bare", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


async def run(mode: str, words: list[str]) -> None:
    """Connect and stay until a signal."""
    from picows import ws_connect

    listeners, stopped = module(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # As the daemon's connector has it.
    options = {"enable_auto_pong": False, "max_frame_size": 16 * 1024 * 1024, "read_buffer_init_size": READ_BUFFER_BYTES,
               "use_aiofastnet": False}
    if mode == "count":
        listener = listeners.Count()
        await ws_connect(lambda: listener, words[0], **options)
    else:
        out = listeners.Out()
        await ws_connect(lambda: out, words[1], **options)
        await ws_connect(lambda: listeners.Answer(out, b"x" * int(words[2])), words[0], **options)
    gc.collect()
    gc.freeze()
    await stopped.wait()


def main() -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(sys.argv[1], sys.argv[2:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
