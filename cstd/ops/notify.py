"""Notices to the service manager (sd_notify), behind one small module.

Without NOTIFY_SOCKET in the environment every call is a no-op, so that the daemon runs the same under a shell.
The watchdog is fed by the daemon from progress of its loop, never by a timer of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sdnotify import SystemdNotifier

from cstd.units import NS_PER_US

STATUS_CHARS_MAX = 200


class ServiceNotifier:
    """Tells the service manager what the daemon is doing; owns no state but the socket."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.active = bool(environ.get("NOTIFY_SOCKET"))
        self.watchdog_ns = _watchdog_ns(environ, os.getpid())
        # Never raises (debug=False): a service manager that does not listen must not stop the daemon.
        self._notifier = SystemdNotifier(debug=False) if self.active else None
        if self._notifier is not None and self._notifier.socket is not None:
            # A full queue of the service manager drops a notice instead of stopping the loop; sdnotify ignores it.
            self._notifier.socket.setblocking(False)

    def _send(self, text: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(text)

    def ready(self, status: str = "") -> None:
        """Say that the admin socket is served."""
        self._send("READY=1" + _status_line(status))

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(_status_line(text).lstrip("\n"))

    def watchdog(self) -> None:
        """Feed the watchdog; call it only when work went on since the last call."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """Say that a stop has begun."""
        self._send("STOPPING=1" + _status_line(status))


def _status_line(text: str) -> str:
    """Return "\\nSTATUS=text" on one line: a newline inside would start another assignment."""
    flat = " ".join(text.split())[:STATUS_CHARS_MAX]
    return f"\nSTATUS={flat}" if flat else ""


def _watchdog_ns(environ: Mapping[str, str], pid: int) -> int | None:
    """Return the watchdog timeout in ns that is meant for this process, or None."""
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(text) * NS_PER_US or None
