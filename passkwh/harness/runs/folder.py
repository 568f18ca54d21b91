"""A run is a folder: append, resume, finish, read.

=================  =====================================================================================
``manifest.json``  what was asked and what it ran on; replaced atomically when a session or its status changes
``samples.jsonl``  one line a sample, appended and flushed batch by batch; the last line of a key holds
``trace-*.arrows`` the trace of one session while the run is unfinished (pieces that survive a kill)
``trace.parquet``  the whole trace, once finished
``summary.json``   written last and atomically: its presence means the run is complete
=================  =====================================================================================

Reading a run needs nothing of the machine that made it. What was read or written once is not read again: samples are
kept while a run is written, and a manifest or summary is parsed once for each state of its file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import ValidationError

from passkwh.errors import UsageError
from passkwh.harness.runs.files import replacing, writing
from passkwh.harness.runs.lines import NotASample, read_line
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.runs.trace_files import DamagedTraceError, TraceWriter, read_stream, read_trace, write_trace
from passkwh.records import Manifest, Record, Sample, Summary, storable
from passkwh.stored import seal, unseal
from passkwh.strict_json import distinct

MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"
TRACE = "trace.parquet"
SUMMARY = "summary.json"

RecordT = TypeVar("RecordT", bound=Record)


class RunFolder:
    """One run on disk. ``create`` and ``resume`` lock the folder against a second writer; ``open`` only reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None
        self._samples: dict[str, Sample] | None = None

    # ------------------------------------------------------------ opening

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> RunFolder:
        """Make a new run folder and lock it.

        Raises:
            UsageError: if the folder exists, cannot be made, or is being written.
        """
        check_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the run folder {path}: {error.strerror}; choose another --out") from error
        folder = cls(path)
        folder._lock()
        folder.write_manifest(manifest)
        return folder

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """Open an unfinished run for writing, dropping a last line that a kill left half written.

        Raises:
            UsageError: if it is complete, not a run, or being written by another process.
        """
        folder = cls.open(path)
        if folder.complete:
            raise UsageError(_finished(path))
        folder._lock()
        folder._drop_torn_line()
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run for reading.

        Raises:
            UsageError: if there is no run at ``path``.
        """
        if not (path / MANIFEST).is_file():
            raise UsageError(f"{path} is not a run folder: it has no {MANIFEST}; give a folder that `bench run` made")
        return cls(path)

    def _lock(self) -> None:
        # The folder itself is locked: no lock file can be left behind, and the kernel frees it when the writer dies.
        with writing(self.path):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise UsageError(f"{self.path} is being written by another process; wait for it or end it") from error
        self._lock_fd = fd

    def close(self) -> None:
        """Release the lock."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # ------------------------------------------------------------ manifest and summary

    @property
    def complete(self) -> bool:
        """Whether the run is finished."""
        return (self.path / SUMMARY).is_file()

    def manifest(self) -> Manifest:
        """The manifest. Raises UsageError when it is damaged."""
        return _read(self.path / MANIFEST, Manifest)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically."""
        with writing(self.path / MANIFEST):
            _write(self.path / MANIFEST, manifest)

    def summary(self) -> Summary:
        """The summary of a complete run. Raises UsageError when the run is not complete or the file is damaged."""
        if not self.complete:
            raise UsageError(f"{self.path} is not complete: continue it with the same `bench run` command and --resume")
        return _read(self.path / SUMMARY, Summary)

    # ------------------------------------------------------------ samples

    def append(self, samples: Iterable[Sample]) -> list[Sample]:
        """Append a batch of samples in one write and see it on disk; returns them as they stand there.

        Raises:
            UsageError: if the disk does not take it.
        """
        appended = [storable(sample) for sample in samples]
        block = _lines(appended)
        with writing(self.path / SAMPLES), (self.path / SAMPLES).open("ab", buffering=0) as file:
            while block:  # on a disk that is nearly full a write is cut short; the next one says why
                block = block[file.write(block) :]
            os.fsync(file.fileno())
        if self._samples is not None:
            self._samples.update((sample.key, sample) for sample in appended)
        return appended

    def samples(self) -> list[Sample]:
        """Every sample once, the last line of each key, in order of time.

        The writer of a run reads its file once, when it begins: what it appends from then on is kept.

        Raises:
            UsageError: for a damaged line, naming file and line. A torn last line of an unfinished run is ignored.
        """
        latest = self._samples if self._samples is not None else self._read_samples()
        if self._lock_fd is not None:
            self._samples = latest
        return sorted(latest.values(), key=lambda sample: sample.order)

    def table(self, counted: Sequence[str] | None = None) -> SampleTable:
        """The samples of a complete run as one table, without a record of each.

        With ``counted`` channels only what :meth:`SampleTable.statistics` of them takes.

        Raises:
            UsageError: for a file that is missing, or a damaged line, naming file, line and field.
        """
        path = self.path / SAMPLES
        try:
            return SampleTable.parse(path.read_bytes(), counted=counted)
        except FileNotFoundError as error:
            raise UsageError(
                f"{path} is missing: the run folder is damaged, restore it or leave the run out"
            ) from error
        except OSError as error:
            raise UsageError(_unreadable(path, error)) from error
        except NotASample as error:
            raise _damaged(path, error, "restore the file or leave the run out") from error

    def _read_samples(self) -> dict[str, Sample]:
        path = self.path / SAMPLES
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        except OSError as error:
            raise UsageError(_unreadable(path, error)) from error
        torn = lines.pop()
        if torn and self.complete:
            lines.append(torn)
        try:
            samples = [read_line(number, line) for number, line in enumerate(lines, start=1)]
        except NotASample as error:
            fix = "restore it" if self.complete else "restore it, or remove it and --resume makes it again"
            raise _damaged(path, error, fix) from error
        return {sample.key: sample for sample in samples}

    def _drop_torn_line(self) -> None:
        path = self.path / SAMPLES
        if not path.exists():
            return
        with writing(path), path.open("rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)

    # ------------------------------------------------------------ trace

    def trace_writer(self, session: int, schema: pa.Schema) -> TraceWriter:
        """A writer for the trace of one session; everything handed to it survives a kill of this process."""
        return TraceWriter(self.path / f"trace-{session:03d}.arrows", schema)

    def trace(self) -> pa.Table:
        """The whole trace so far, all sessions; an empty table without columns when there is none.

        Raises:
            UsageError: if the trace of a complete run is missing or damaged.
        """
        if self.complete:
            try:
                return read_trace(self.path / TRACE)
            except (OSError, pa.ArrowException) as error:
                raise UsageError(_unreadable(self.path / TRACE, error)) from error
        tables = []
        for path in sorted(self.path.glob("trace-*.arrows")):
            try:
                if (table := read_stream(path)) is not None:
                    tables.append(table)
            except OSError as error:
                raise UsageError(_unreadable(path, error)) from error
            except DamagedTraceError as error:
                fix = "restore it, or remove it: --resume then goes on, and energies that it held are missing"
                raise UsageError(f"{path} is damaged ({error}): {fix}") from error
        return pa.concat_tables(tables) if tables else pa.table({})

    # ------------------------------------------------------------ finishing

    def finish(self, manifest: Manifest, samples: Iterable[Sample], trace: pa.Table, summary: Summary) -> None:
        """Write the final samples, trace and manifest, then the summary: only that makes the run complete.

        A kill in between leaves an unfinished run from which finishing can be done again.
        """
        with writing(self.path / SAMPLES), replacing(self.path / SAMPLES) as file:
            file.write(_lines(samples))
        write_trace(self.path / TRACE, trace)
        self.write_manifest(manifest)
        with writing(self.path / SUMMARY):
            _write(self.path / SUMMARY, summary)
        for stream in self.path.glob("trace-*.arrows"):
            with suppress(OSError):  # it is complete without that
                stream.unlink()


def check_new(path: Path) -> None:
    """Refuse a place where a new run cannot be made, saying what is there and what to do.

    Raises:
        UsageError: a file in the way, a complete run, or an unfinished one.
    """
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file, not a folder; choose another --out")
    if (path / SUMMARY).exists():
        raise UsageError(_finished(path))
    if (path / MANIFEST).exists():
        raise UsageError(f"{path} holds an unfinished run: add --resume to continue it, or choose another --out")
    if path.exists() and any(not entry.name.endswith(".partial") for entry in path.iterdir()):
        raise UsageError(f"{path} is not empty and not a run; choose another --out")


def _finished(path: Path) -> str:
    return (
        f"{path} is a finished run, which is never changed: see it with `bench report {path}` or choose another --out"
    )


def _write(path: Path, record: Record) -> None:
    with replacing(path) as file:
        file.write(seal(storable(record).model_dump_json(indent=1)))


def _read(path: Path, kind: type[RecordT]) -> RecordT:
    try:
        state = path.stat()
    except OSError as error:
        raise UsageError(_unreadable(path, error)) from error
    record = _parsed(path, kind, (state.st_ino, state.st_mtime_ns, state.st_size))
    assert isinstance(record, kind)
    return record


@lru_cache(maxsize=1024)
def _parsed(path: Path, kind: type[Record], _state: tuple[int, int, int]) -> Record:
    try:
        content = unseal(path.read_bytes())
        json.loads(content, object_pairs_hook=distinct)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(_unreadable(path, error)) from error
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(f"{path} is not a {kind.__name__.lower()} of this version: {_first(error)}") from error


def _lines(samples: Iterable[Sample]) -> bytes:
    return b"".join(seal(sample.model_dump_json()) + b"\n" for sample in samples)


def _damaged(path: Path, error: NotASample, fix: str) -> UsageError:
    place = f"{path}, line {error.line}" if error.line else str(path)
    field = f"{error.field}: " if error.field else ""
    return UsageError(f"{place}: not a sample ({field}{error.why}): {fix}")


def _unreadable(path: Path, error: Exception) -> str:
    why = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return f"{path} cannot be read ({why}): restore it or leave the run out"


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
