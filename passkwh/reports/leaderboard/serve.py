"""A preview on this machine: the site over HTTP, built again when a pack changes, pages reloading by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError

INTERVAL_S = 1.0
LIVE = b"""<script src="/__live.js"></script></body>"""
SCRIPT = b"""(() => {
  let seen = null;
  setInterval(async () => {
    try {
      const now = await (await fetch("/__version", { cache: "no-store" })).text();
      if (seen !== null && now !== seen) location.reload();
      seen = now;
    } catch (error) { /* the preview was ended */ }
  }, 1000);
})();
"""


class Preview:
    """Serves a site and rebuilds it when the watched files change."""

    def __init__(
        self, site: Path, watched: Callable[[], Iterable[Path]], rebuild: Callable[[], None], port: int
    ) -> None:
        self._watched = watched
        self._rebuild = rebuild
        self._version = 0
        self._ended = threading.Event()
        self._seen = self._state()
        handler = partial(_Handler, directory=str(site), version=lambda: self._version)
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise UsageError(f"port {port} cannot be used: {error.strerror}; choose another --port") from error

    @property
    def address(self) -> str:
        """Where to look."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def run(self) -> None:
        """Serve until ``close``; blocks."""
        threading.Thread(target=self._watch, daemon=True).start()
        self._server.serve_forever()

    def close(self) -> None:
        """End serving and watching."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            now = self._state()
            if now != self._seen:
                self._seen = now
                self._rebuild()
                self._version += 1

    def _state(self) -> dict[Path, tuple[int, int]]:
        state = {}
        for path in self._watched():
            try:
                status = path.stat()
            except OSError:  # it went away between being listed and being looked at
                continue
            state[path] = (status.st_mtime_ns, status.st_size)
        return state


class _Handler(SimpleHTTPRequestHandler):
    """Files of the site; into pages goes a script that reloads them when the site was built again."""

    timeout = 10
    """A connection that says nothing for so long is ended (seconds)."""

    def __init__(self, *arguments: Any, version: Callable[[], int], **named: Any) -> None:
        self._version = version
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        if (self.headers.get("Host") or "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN, "a name that was made to point here")
        elif self.path == "/__version":
            self._send(str(self._version()).encode(), "text/plain")
        elif self.path == "/__live.js":
            self._send(SCRIPT, "text/javascript")
        else:
            place = Path(self.translate_path(self.path))
            if place.is_dir():
                place = place / "index.html"
            if place.suffix == ".html" and place.is_file():
                self._send(place.read_bytes().replace(b"</body>", LIVE), "text/html; charset=utf-8")
            else:
                super().do_GET()

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing of single requests."""
