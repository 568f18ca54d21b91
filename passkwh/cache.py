"""The folder for what is made once and used again: converted and quantized checkpoints."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def cache_dir() -> Path:
    """``$PASSKWH_CACHE`` where that is set, otherwise the platform's folder for caches. It may not exist yet."""
    if chosen := os.environ.get("PASSKWH_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "passkwh" / "Cache"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/passkwh").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "passkwh"


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``folder`` when the block ends well and vanishes when it does not.

    A folder under its final name is therefore always whole: a process killed in between leaves only a hidden draft,
    which nothing reads and the next builder on the same machine removes. Where two processes build the same folder,
    the first to finish wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f".{folder.name}@{_host()}@*"):
        if not psutil.pid_exists(int(stale.name.split("@")[2])):
            shutil.rmtree(stale, ignore_errors=True)
    prefix = f".{folder.name}@{_host()}@{os.getpid()}@"
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)  # mkdtemp's folders are for their owner alone; a cache may be shared
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _host() -> str:
    """This machine, in a file name: a cache on a shared disk has drafts of several."""
    return socket.gethostname().replace("@", "-") or "host"
