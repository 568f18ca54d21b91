"""Run folders on their way from where they were made: packed into one message, or through shared storage.

Storage is any place that fsspec knows: a folder on a shared disk, ``s3://bucket/path``, ``gs://``, ``memory://``. A run
folder there is complete when it has ``summary.json``, which is written last, as on disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from passkwh.errors import MissingExtra, UsageError
from passkwh.harness.sweep.status import FILES

LAST = "summary.json"


def pack(path: Path) -> dict[str, bytes]:
    """The files of a complete run folder, by name."""
    return {name: (path / name).read_bytes() for name in FILES}


def unpack(content: dict[str, bytes], path: Path) -> None:
    """The run folder of packed files; appears whole or not at all, in place of an unfinished one."""
    partial = _partial(path)
    for name, data in content.items():
        (partial / name).write_bytes(data)
    _replace(path, partial)


def announce(study_file: Path, url: str) -> None:
    """Copy the study's file to ``url``, before anything starts: what cannot be written there is named now, not after
    the first run. Raises UsageError.
    """
    _put([study_file], url)


def upload(path: Path, url: str) -> None:
    """Copy a complete run folder to ``url``; raises UsageError when it cannot be written."""
    _put([path / name for name in sorted(FILES, key=lambda name: name == LAST)], url)


def _put(copied: Sequence[Path], url: str) -> None:
    files, root = _open(url)
    try:
        # A path without a root is in a bucket, which needs no folders; making them would make the bucket, too.
        if root.startswith("/"):
            files.makedirs(root, exist_ok=True)
        for path in copied:
            files.put_file(str(path), f"{root}/{path.name}")
    except Exception as error:  # of whatever library serves this kind of storage
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"--storage: {url} cannot be written ({why}): correct it, or make what is missing") from error


def stored(url: str) -> bool:
    """Whether a complete run folder is at ``url``; raises UsageError when that cannot be told."""
    files, root = _open(url)
    try:
        return bool(files.exists(f"{root}/{LAST}"))
    except Exception as error:
        raise UsageError(f"{url} cannot be read ({type(error).__name__}: {error})") from error


def download(url: str, path: Path) -> None:
    """The run folder at ``url``; appears whole or not at all, in place of an unfinished one."""
    files, root = _open(url)
    partial = _partial(path)
    try:
        for name in FILES:
            files.get_file(f"{root}/{name}", str(partial / name))
    except Exception as error:
        raise UsageError(f"{url} cannot be read ({type(error).__name__}: {error})") from error
    _replace(path, partial)


def _open(url: str):  # type: ignore[no-untyped-def]  # fsspec has no types
    try:
        import fsspec
    except ImportError:
        raise MissingExtra("--storage", "cluster") from None
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"--storage {url}: {error}") from error


def _partial(path: Path) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def _replace(path: Path, partial: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
    partial.rename(path)
