"""The server of `netdsl view`: one page and one stream of events, for this machine only.

It listens on 127.0.0.1, so nothing outside reaches it. A page of another site that a browser has open could: under a
name of its own that it lets point to 127.0.0.1. So a request has to name this machine, and one that a browser says
comes from another site is refused.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from netdsl.draw.page.live import Live

HOST = "127.0.0.1"
MAX_LISTENERS = 64
"""Pages that may listen at the same time."""
HEARTBEAT = 10.0
"""Seconds after which a silent stream says that it is alive, and finds out whether anybody is there."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Whoever ends it does not wait for pages that listen.
    block_on_close = False

    def __init__(self, port: int, live: Live) -> None:
        super().__init__((HOST, port), _Handler)
        self.live = live
        self.listeners = threading.BoundedSemaphore(MAX_LISTENERS)

    def handle_error(self, request: object, client_address: object) -> None:
        # A browser that goes away in the middle of an answer is nobody's mistake.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "netdsl"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        if not self._from_here():
            self._answer(403, "text/plain", "this server is for this machine alone\n")
            return
        path = urlsplit(self.path).path
        if path == "/":
            self._answer(200, "text/html", self.server.live.page())
        elif path == "/events":
            self._events()
        else:
            self._answer(404, "text/plain", "there is only one page here: /\n")

    def _from_here(self) -> bool:
        """Whether the request names this machine, and no other site sent it."""
        port = self.server.server_address[1]
        names = {f"{host}:{port}" for host in (HOST, "localhost")}
        hosts = self.headers.get_all("Host", [])
        site = self.headers.get("Sec-Fetch-Site", "none")
        return len(hosts) == 1 and hosts[0].lower() in names and site in ("none", "same-origin")

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self._finish_headers()
        self.wfile.write(body)

    def _finish_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def _events(self) -> None:
        """Server-sent events (HTML Living Standard, section 9.2): the state now, and each that follows."""
        if not self.server.listeners.acquire(blocking=False):
            self._answer(503, "text/plain", f"{MAX_LISTENERS} pages listen already\n")
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self._finish_headers()
            live, seen = self.server.live, -1
            while not live.ended:
                state = live.wait(seen, HEARTBEAT)
                # JSON has no line breaks, so that a message is one line.
                text = f"data: {state.message}\n\n" if state.version != seen else ":\n\n"
                seen = state.version
                self.wfile.write(text.encode())
                self.wfile.flush()
        finally:
            self.server.listeners.release()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the terminal belongs to the diagnostics."""


@contextmanager
def serving(live: Live, port: int = 0) -> Iterator[str]:
    """Serves the page while the block runs, in a thread of its own; gives the address. Port 0: one that is free.

    Raises OSError for a port that cannot be had.
    """
    server = _Server(port, live)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/"
    finally:
        live.end()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
