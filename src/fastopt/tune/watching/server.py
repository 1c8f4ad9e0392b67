"""The server of the page.

Three kinds of strangers could send requests. Other machines cannot reach 127.0.0.1. Pages of other
sites in the same browser may send requests, but not read the answers, as long as no header allows
it. The owner of such a site could let its name point to 127.0.0.1 (DNS rebinding), so that its page
has the same origin. Its requests carry that name in the header Host, and are refused.

Texts of the study reach the page as JSON and are inserted as text, never as markup. The page may
run no other code than the server's one file.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastopt import _checks
from fastopt.tune._open import open as open_study
from fastopt.tune.watching.feed import Feed

__all__ = ["Watcher", "make_server", "serve"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<link rel="stylesheet" href="watch.css">
<script src="watch.js" defer></script>
</head>
<body>
<header><h1>{name}</h1><p id="facts"></p></header>
<main>
<section id="best" hidden></section>
<section id="history-section"><h2>Value of each trial</h2><canvas id="history" role="img"
 aria-label="Value of each trial and the best so far"></canvas></section>
<section id="curve-section" hidden><h2>Learning curves, by epoch</h2><canvas id="curves" role="img"
 aria-label="What each trial yielded, by epoch"></canvas></section>
<section id="slice-section"><h2>Each parameter</h2><div id="slices"></div></section>
<section><h2>Running</h2><div id="running" class="wide"></div></section>
<section><h2>Best trials</h2><div id="ranked" class="wide"></div></section>
<section id="failure-section" hidden>
<h2>Failures</h2><div id="failures" class="wide"></div></section>
</main>
<footer id="status" role="status"></footer>
</body>
</html>
"""


class Watcher:
    """The changes of one study, for the page; may be used by several threads.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Any) -> None:
        self.name = study.name
        self._lock = threading.Lock()
        self._feed = Feed(study)
        # Tokens are valid for this server alone; after a restart the page starts anew.
        self._session = secrets.token_hex(8)

    def changes(self, token: str) -> dict[str, Any]:
        """What has changed after a token; everything for one that is not known."""
        session, _, place = token.partition(".")
        known = session == self._session and place.isdecimal()
        with self._lock:
            found = self._feed.since(int(place) if known else 0)
            if not known:
                found["about"] = self._feed.about()
        found["token"] = f"{self._session}.{found['token']}"
        return found


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 60.0  # seconds until a silent connection is closed
    server_version = "fastopt"
    sys_version = ""

    def do_GET(self) -> None:
        """The page, its two files, or the trials that have changed."""
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            self._answer(403, "text/plain", b"this server is for 127.0.0.1 only\n")
            return
        url = urlsplit(self.path)
        make = {
            "/": ("text/html", self._page),
            "/watch.js": ("text/javascript", lambda: _resource("watch.js")),
            "/watch.css": ("text/css", lambda: _resource("watch.css")),
            "/trials": ("application/json", lambda: self._trials(url.query)),
        }.get(url.path)
        if make is None:
            self._answer(404, "text/plain", b"there is no such page\n")
            return
        kind, content = make
        try:
            body = content()
        except (OSError, ValueError) as error:  # the study's file is gone, or damaged
            self._answer(503, "text/plain", str(error).encode())
            return
        self._answer(200, kind, body)

    def _page(self) -> bytes:
        return PAGE.replace("{name}", escape(self.server.watcher.name)).encode(
            "utf-8", "backslashreplace"
        )

    def _trials(self, query: str) -> bytes:
        token = parse_qs(query).get("after", [""])[0]
        return json.dumps(self.server.watcher.changes(token), allow_nan=False).encode()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the page sends a request each second."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # On Windows a second server could then share the port and get half of the requests.
    allow_reuse_address = os.name == "posix"

    def __init__(self, watcher: Watcher, port: int) -> None:
        self.watcher = watcher
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: the browser has closed the connection."""


def _resource(name: str) -> bytes:
    return (files("fastopt.tune.watching") / name).read_bytes()


def make_server(study: Any, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page about a study that is open for reading; 0 takes a free port."""
    return _Server(Watcher(study), _checks.integer("port", port, least=0, most=65535))


def serve(path: str, name: str | None, port: int, announce: Callable[[str], Any] = print) -> None:
    """Serve the page about a study in a file until Ctrl-C."""
    with open_study(path, name) as study, make_server(study, port) as server:
        announce(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
