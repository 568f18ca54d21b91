"""The folder for what is made once and used again: converted and quantized checkpoints."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    A folder under its final name is therefore always whole: a process killed in between leaves only a hidden
    ``.<name>-*`` folder, which nothing reads. Where two processes build the same folder, the first to finish wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
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
