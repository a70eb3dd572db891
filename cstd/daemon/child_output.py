"""What a child of the trading process prints, awaited while that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence


async def output_of(command: Sequence[str], on_spawn: Callable[[int], None], limit_s: float | None = None) -> bytes:
    """Return what a child prints; it does not outlive this call.

    Args:
        on_spawn: called with the child's process id. limit_s: how long it may take.

    Raises:
        OSError: it cannot be started, or it failed. TimeoutError: it took too long.
    """
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.PIPE)
    on_spawn(process.pid)
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ChildProcessError(f"exit code {process.returncode}: {err.decode(errors='replace').strip()[-500:]}")
    return out
