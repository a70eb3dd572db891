"""What a fault needs of the host: a small disk, a network of its own, a library that is preloaded. Made, and taken away again."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

from cstd.child import end_with_parent
from cstd.errors import OperatorError

COMMAND_S_MAX = 30.0
SHIM = Path(__file__).with_name("shim.c")
CONTROL = struct.Struct("<qqq")  # wall offset in ns, errno of a sync, syncs that failed; as in shim.c


class NotPossibleError(Exception):
    """This host does not let the fault happen; the text says what is missing."""


def _needs(*names: str) -> list[str]:
    """Return the paths of programs; raises NotPossibleError when one is not installed."""
    found = []
    for name in names:
        path = shutil.which(name)
        if path is None:
            raise NotPossibleError(f"the program {name} is not installed")
        found.append(path)
    return found


def _run(words: list[str], what: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=COMMAND_S_MAX)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise NotPossibleError(f"{what}: {said[0] if said else f'exit code {done.returncode}'}")


class SmallDisk:
    """A tmpfs of a few MiB on a directory; needs the right to mount."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self.directory = directory
        mount, self._umount = _needs("mount", "umount")
        directory.mkdir(mode=0o700, exist_ok=True)
        _run([mount, "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "cstd-chaos", str(directory)],
             "a small tmpfs cannot be mounted (that needs root)")
        self._filler = directory / "filler"

    def fill(self) -> None:
        """Leave not one byte."""
        with self._filler.open("wb", buffering=0) as file:
            for piece in (bytes(1 << 16), bytes(1)):
                try:
                    while file.write(piece) == len(piece):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    def remove(self, *, keep: bool) -> None:
        """Unmount it; with `keep` what is on it stays, as files of the directory below."""
        self.free()
        kept = self.directory.with_name(self.directory.name + ".kept")
        if keep:
            shutil.copytree(self.directory, kept, symlinks=True)
        try:
            _run([self._umount, str(self.directory)], "it is in use")
        except NotPossibleError:
            try:
                _run([self._umount, "-l", str(self.directory)], f"{self.directory} cannot be unmounted")
            except NotPossibleError as error:
                raise OperatorError(str(error), suggestion=f"umount -l {self.directory}") from None
        if keep:
            shutil.copytree(kept, self.directory, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(kept)


class OwnNetwork:
    """A network namespace with nothing but a loopback device, which can be cut; root, or user namespaces, are needed.

    Attributes:
        prefix: words before a command that is to run inside.
    """

    def __init__(self) -> None:
        unshare, nsenter, self._ip, sleep = _needs("unshare", "nsenter", "ip", "sleep")
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        before = Path("/proc/self/ns/net").readlink()
        self._holder = subprocess.Popen([unshare, *own, "--net", sleep, "infinity"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=end_with_parent)  # noqa: PLW1509 -- no threads run here
        inside = Path(f"/proc/{self._holder.pid}/ns/net")
        deadline_s = time.monotonic() + COMMAND_S_MAX
        while self._holder.poll() is None and inside.readlink() == before and time.monotonic() < deadline_s:
            time.sleep(0.01)
        if self._holder.poll() is not None:
            raise NotPossibleError("a network namespace cannot be made (root, or user namespaces, are needed)")
        user = ["--user", "--preserve-credentials"] if own else []
        self.prefix = [nsenter, "--target", str(self._holder.pid), *user, "--net"]
        try:
            self.join()
        except NotPossibleError:
            self.remove()
            raise

    def join(self) -> None:
        """Bring the loopback device up."""
        _run([*self.prefix, self._ip, "link", "set", "lo", "up"], "the network cannot be set up")

    def cut(self) -> None:
        """Take the loopback device down: no packet passes, and nobody is told."""
        _run([*self.prefix, self._ip, "link", "set", "lo", "down"], "the network cannot be cut")

    def remove(self) -> None:
        """End the process that holds the namespace."""
        self._holder.kill()
        self._holder.wait()


class Shim:
    """The preloaded library with its control file, built in a directory with the C compiler that is there.

    Attributes:
        env: what the process gets that is to be under it.
    """

    def __init__(self, directory: Path) -> None:
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            raise NotPossibleError("no C compiler is installed to build the preloaded library with")
        library, control = directory / "shim.so", directory / "shim.control"
        _run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIM), "-ldl"], "the preloaded library does not build")
        control.write_bytes(bytes(CONTROL.size))
        self.env = {"LD_PRELOAD": str(library), "CSTD_CHAOS_CONTROL": str(control)}
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), CONTROL.size)

    @property
    def sync_failures(self) -> int:
        """Return how many syncs have failed by it."""
        return int(CONTROL.unpack_from(self._map)[2])

    def step_wall(self, offset_ns: int) -> None:
        """Let the wall clock be so far from the host's."""
        struct.pack_into("<q", self._map, 0, offset_ns)

    def fail_syncs(self, errno: int) -> None:
        """Let every fsync and fdatasync fail with this; 0 ends that."""
        struct.pack_into("<q", self._map, 8, errno)

    def remove(self) -> None:
        """Let go of the control file."""
        self._map.close()
