"""The preview: pages over HTTP, built again when a pack is added, and nothing outside the site is handed out."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from passkwh.errors import UsageError
from passkwh.reports.leaderboard.build import build
from passkwh.reports.leaderboard.serve import Preview


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        content: bytes = answer.read()
    return content.decode()


def wait_until(condition: Callable[[], bool], limit_s: float = 120.0) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


def test_a_preview_follows_the_folder(packs: list[Path], tmp_path: Path) -> None:
    folder, site = tmp_path / "submissions", tmp_path / "site"
    folder.mkdir()
    shutil.copy(packs[2], folder)

    def rebuild() -> None:
        build(sorted(folder.glob("*.zip")), site, tmp_path / "cache", title="Preview", published=False)

    rebuild()
    preview = Preview(site, lambda: folder.glob("*.zip"), rebuild, 0)
    thread = threading.Thread(target=preview.run, daemon=True)
    thread.start()
    try:
        page = fetch(preview.address)
        assert "__live.js" in page
        assert "__live.js" not in (site / "index.html").read_text()  # only in what is served
        assert fetch(f"{preview.address}__version") == "0"
        assert "passkwh" in fetch(f"{preview.address}stats.js")
        shutil.copy(packs[3], folder)
        assert wait_until(lambda: fetch(f"{preview.address}__version") != "0")
        assert len(list((site / "c").iterdir())) == 2
        (tmp_path / "secret.html").write_text("not yours")
        for attempt in ("../secret.html", "..%2fsecret.html", "%2e%2e/secret.html", "c/../../secret.html"):
            with pytest.raises(urllib.error.HTTPError):
                fetch(preview.address + attempt)
    finally:
        preview.close()
        thread.join(timeout=30)


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    first = Preview(tmp_path, list, lambda: None, 0)
    port = int(first.address.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(UsageError, match="--port"):
        Preview(tmp_path, list, lambda: None, port)
    first._server.server_close()
