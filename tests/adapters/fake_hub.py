"""A hub on this machine: a real HTTP server that gives folders as the hub gives repositories."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


class FakeHub(ThreadingHTTPServer):
    """``publish`` puts a folder under a name; what was asked for stands in ``requests``, ``METHOD path``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Path]] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, hub_id: str, folder: Path, branch: str = "main") -> str:
        """Give a folder as a branch of a repository; its commit."""
        commit = hashlib.sha1(f"{hub_id} {branch}".encode()).hexdigest()
        self.repositories.setdefault(hub_id, {}).update({branch: folder, commit: folder})
        return commit

    def commit_of(self, hub_id: str, revision: str) -> str | None:
        """The commit that a branch or a commit means."""
        folder = self.repositories[hub_id].get(revision)
        named = (name for name, place in self.repositories[hub_id].items() if place == folder and len(name) == 40)
        return next(named, None) if folder else None


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._info(match[1], match[2] or "main")
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", path):
            return self._file(match[1], match[2], match[3])
        return self._refuse("EntryNotFound")

    def _folder(self, hub_id: str, revision: str) -> Path | None:
        if hub_id not in self.server.repositories:
            self._refuse("RepoNotFound")
            return None
        folder = self.server.repositories[hub_id].get(revision)
        if folder is None:
            self._refuse("RevisionNotFound")
        return folder

    def _info(self, hub_id: str, revision: str) -> None:
        if (folder := self._folder(hub_id, revision)) is None:
            return
        files = [{"rfilename": file.name, "size": file.stat().st_size} for file in sorted(folder.iterdir())]
        sha = self.server.commit_of(hub_id, revision)
        self._answer(json.dumps({"id": hub_id, "sha": sha, "siblings": files, "tags": []}).encode(), {})

    def _file(self, hub_id: str, revision: str, name: str) -> None:
        if (folder := self._folder(hub_id, revision)) is None:
            return None
        if not (folder / name).is_file():
            return self._refuse("EntryNotFound")
        content = (folder / name).read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": str(self.server.commit_of(hub_id, revision)),
            "Accept-Ranges": "bytes",
        }
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if part is None:
            return self._answer(content, headers)
        start, end = int(part[1]), min(int(part[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return self._answer(content[start : end + 1], headers, 206)

    def _answer(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _refuse(self, code: str) -> None:
        self._answer(b"", {"X-Error-Code": code}, 404)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that answers for the length of the block."""
    with FakeHub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
