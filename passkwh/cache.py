"""The folder for what is made once and used again: converted and quantized checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

import psutil

from passkwh.errors import UsageError


def cache_dir() -> Path:
    """``$PASSKWH_CACHE`` where that is set, otherwise the platform's folder for caches. It may not exist yet."""
    if chosen := os.environ.get("PASSKWH_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "passkwh" / "Cache"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/passkwh").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "passkwh"


OnStep = Callable[[str], None]
"""Is told, in words, what is done next while something is made. What it takes besides is ``CountsSteps``."""


@runtime_checkable
class CountsSteps(Protocol):
    """An ``OnStep`` that is also told how much of a step is done."""

    def count(self, what: str, done: int, of: int) -> None:
        """So much of a step is done; ``what`` stays the same until it is."""
        ...


HASHES = ".sha256"
"""Of every file of a folder in the cache, written when it was made."""


VERIFIED = ".verified"
"""Size, time of change, inode and hash of the files that were compared with their hashes: hashing takes 0.7 s a GB."""


def check_intact(folder: Path) -> None:
    """Compare a folder of the cache with what it was when it was made; one of an older program has nothing to compare.

    A file is hashed once for each size, time of change and inode that it has.

    Raises:
        UsageError: naming the file that is missing or was changed.
    """
    if cache_dir().resolve() not in folder.resolve().parents:
        return
    verified = _verified(folder)
    wrong, compared = None, {}
    try:
        for name, sha256 in json.loads((folder / HASHES).read_text("utf-8")).items():
            seen = (folder / name).stat()
            compared[name] = [seen.st_size, seen.st_mtime_ns, seen.st_ino, sha256]
            if verified.get(name) != compared[name] and _sha256(folder / name) != sha256:
                wrong = name
                break
    except FileNotFoundError as error:
        wrong = None if error.filename == str(folder / HASHES) else str(error.filename)
    except (OSError, ValueError, AttributeError):
        wrong = HASHES
    if wrong is not None:
        raise UsageError(f"{folder / wrong} is missing or damaged: remove {folder}, and it is made again")
    if compared != verified:
        _remember(folder, compared)


def _verified(folder: Path) -> dict[str, list[object]]:
    try:
        known = json.loads((folder / VERIFIED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(folder: Path, compared: dict[str, list[object]]) -> None:
    draft = folder / f"{VERIFIED}@{_host()}@{os.getpid()}"
    with suppress(OSError):  # a cache that is shared, and not to be written by everybody, is hashed each time
        draft.write_text(json.dumps(compared), "utf-8")
        draft.replace(folder / VERIFIED)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
        hashes = {str(file.relative_to(draft)): _sha256(file) for file in sorted(draft.rglob("*")) if file.is_file()}
        (draft / HASHES).write_text(json.dumps(hashes, indent=1) + "\n", "utf-8")
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
