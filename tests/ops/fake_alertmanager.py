"""An HTTP server that answers as an Alertmanager does, or as something else does."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class FakeAlertmanager:
    """Answers `alerts` with `body`, and with no silences where those are alerts. A context manager; `url` is its address."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        fake = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_alerts = self.path.startswith("/api/v2/alerts")
                content = fake.body if is_alerts or fake.body[:1] != b"[" else b"[]"
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> FakeAlertmanager:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
