"""Files that outlive a kill, a full disk and a power cut: written whole or not at all, and a failure is one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from passkwh.errors import UsageError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, what the file system refuses of a run's file is a UsageError that says what to do."""
    try:
        yield
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise UsageError(
            f"{path} cannot be written ({why}): nothing that was stored is lost; free some space or make the folder "
            "writable, then go on with --resume"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``path`` when the block ends well: a reader finds the old or the new
    content, never a part, also after a power cut.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync_folder(path.parent)


def write_atomic(path: Path, text: str) -> None:
    """Replace a file's text (:func:`replacing`); half of a surrogate pair, no character, is escaped."""
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _sync_folder(folder: Path) -> None:
    """See the folder's names on disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no such thing
            raise
    finally:
        os.close(fd)
