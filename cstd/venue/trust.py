"""Whom a connection to the venue trusts: the system's authorities, and nothing can switch the check off.

An authority of one's own is added the way OpenSSL has it: SSL_CERT_FILE (or SSL_CERT_DIR) in the environment.
"""

from __future__ import annotations

import ssl
from functools import cache


@cache
def tls_context() -> ssl.SSLContext:
    """Return the process's client context: TLS 1.2 or newer, certificate and host name checked.

    One for all connections: reading the system's authorities takes a tenth of a second, in which nothing else would run.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
