"""A submission is one file: a finished run, zipped, with a checksum of each of its parts.

Whoever reads a pack did not make it. So nothing is ever extracted by the names in it: exactly five members are known,
anything else refuses the pack, and every size is bounded before and while it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from passkwh import strict_json
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY, TRACE, RunFolder
from passkwh.reports.leaderboard.findings import error

SUFFIX = ".passkwh.zip"
CHECKSUMS = "checksums.json"
FORMAT = 1

MEBI = 2**20
LIMITS = {CHECKSUMS: 1 * MEBI, MANIFEST: 1 * MEBI, SUMMARY: 1 * MEBI, SAMPLES: 512 * MEBI, TRACE: 512 * MEBI}
"""The members of a pack, in the order in which they stand in it, and how large each may be (bytes)."""
MAX_PACK_BYTES = 512 * MEBI
MAX_RATIO = 100
"""A member of more than 1 MiB may be so many times as large as what is stored of it; runs reach about 30."""
MAX_DIRECTORY_BYTES = 64 * 1024
AGAIN = "make the pack again with `bench leaderboard pack RUN` and change nothing in it"

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same run gives the same file, byte for byte


class Problem(Exception):
    """Why a pack cannot be read: in which part (and field), what was seen, and what to do."""

    def __init__(self, file: str, seen: str, fix: str, field: str = "") -> None:
        self.finding = error(file, field, seen, fix)
        super().__init__(str(self.finding))


def members_of(run: Path) -> dict[str, bytes]:
    """The parts of a finished run that go into its pack.

    Raises:
        UsageError: for a folder that is no run, or is not complete.
    """
    folder = RunFolder.open(run)
    folder.manifest()
    folder.summary()  # these say so where the run is not complete, or of a newer program
    members = {}
    for name in (MANIFEST, SUMMARY, SAMPLES, TRACE):
        try:
            members[name] = (run / name).read_bytes()
        except OSError as error:
            raise UsageError(f"{run / name} cannot be read: {error.strerror}; the run folder is damaged") from error
    return members


def write_pack(members: Mapping[str, bytes], target: Path) -> None:
    """Write the parts of a run and their checksums as one file, atomically. Equal parts give an equal file."""
    sums = {"format": FORMAT, "sha256": {name: hashlib.sha256(members[name]).hexdigest() for name in sorted(members)}}
    whole = {CHECKSUMS: json.dumps(sums, indent=1, sort_keys=True).encode(), **members}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in LIMITS:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_STORED if name == TRACE else zipfile.ZIP_DEFLATED  # parquet is compressed
            archive.writestr(entry, whole[name], compresslevel=6)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_bytes(buffer.getvalue())
        partial.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}; choose another --out") from error


def read_pack(path: Path) -> tuple[str, dict[str, bytes]]:
    """SHA-256 of the file, and its parts, each with the checksum that the pack states for it.

    Raises:
        UsageError: when the file cannot be read at all.
        Problem: when it is not a pack, or one that must not be trusted.
    """
    content = read_file(path)
    members = _members(content, path.name)
    _check_sums(members)
    return hashlib.sha256(content).hexdigest(), members


def read_file(path: Path) -> bytes:
    """The bytes of a pack.

    Raises:
        UsageError: when the file cannot be read at all.
        Problem: when it is no regular file, or too large.
    """
    try:
        # What is no file could keep a reader waiting, or never end; a link could name a file that was not submitted.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink() or path.is_socket():
            raise Problem(path.name, "is a link or a socket, no regular file", "submit the pack itself") from error
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Problem(path.name, "is no regular file", "submit the pack itself")
        if status.st_size > MAX_PACK_BYTES:
            raise _too_large(path.name, status.st_size, MAX_PACK_BYTES)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_PACK_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _members(content: bytes, name: str) -> dict[str, bytes]:
    _check_directory(content, name)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            for entry in entries:
                if entry.filename not in LIMITS or entry.orig_filename != entry.filename:  # zipfile ends names at a NUL
                    raise Problem(name, f"holds {_shown(entry.orig_filename)}, which is no part of a pack", AGAIN)
            for entry in entries:
                if names.count(entry.filename) > 1:
                    raise Problem(entry.filename, "stands in the pack more than once", AGAIN)
                _check_entry(entry)
            for wanted in LIMITS:
                if wanted not in names:
                    raise Problem(wanted, "is missing from the pack", AGAIN)
            return {entry.filename: _inflate(archive, entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as error:
        raise Problem(name, f"is not a readable zip file ({_shown(str(error))})", AGAIN) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise Problem(name, f"cannot be unpacked ({_shown(str(error))})", AGAIN) from error


def _check_directory(content: bytes, name: str) -> None:
    """Refuse a file whose table of contents is missing or too long before anything parses it."""
    end = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_557))
    if end < 0 or end + 22 > len(content):
        raise Problem(name, "is not a zip file, or was cut off", AGAIN)
    count, directory_bytes = struct.unpack_from("<HI", content, end + 10)
    if (
        count > 2 * len(LIMITS)
        or directory_bytes > MAX_DIRECTORY_BYTES
        or content[end - 20 : end - 16] == b"PK\x06\x07"
    ):
        raise Problem(name, f"lists {count} members or more; a pack has {len(LIMITS)}", AGAIN)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Problem(entry.filename, "is a link, a folder or a device, not a file", AGAIN)
    if entry.flag_bits & 0x1:
        raise Problem(entry.filename, "is encrypted", AGAIN)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Problem(entry.filename, f"is compressed by method {entry.compress_type}, not deflate", AGAIN)
    limit = LIMITS[entry.filename]
    if entry.file_size > limit:
        raise _too_large(entry.filename, entry.file_size, limit)
    if entry.file_size > MEBI and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise Problem(
            entry.filename,
            f"unpacks to {entry.file_size / max(entry.compress_size, 1):.0f} times its size, more than {MAX_RATIO}",
            AGAIN,
        )


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content, of which never more is unpacked than the entry states; the stated size was bounded before."""
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise Problem(
            entry.filename,
            f"unpacks to {len(content)} bytes or more where {entry.file_size} are stated",
            AGAIN,
        )
    return content


def _check_sums(members: Mapping[str, bytes]) -> None:
    try:
        stated = strict_json.loads(members[CHECKSUMS])
        sums = stated["sha256"]
        form = stated["format"]
        missing = [name for name in LIMITS if name != CHECKSUMS and not isinstance(sums[name], str)]
    except (ValueError, TypeError, KeyError) as error:
        kind = type(error).__name__
        raise Problem(CHECKSUMS, f"does not state a format and a checksum of each part ({kind})", AGAIN) from error
    if form != FORMAT:
        raise Problem(
            CHECKSUMS, f"format is {_shown(str(form))}, this program reads {FORMAT}", "use a matching passkwh"
        )
    for name in LIMITS:
        if name != CHECKSUMS and (name in missing or hashlib.sha256(members[name]).hexdigest() != sums[name]):
            raise Problem(name, f"does not have the checksum that {CHECKSUMS} states", AGAIN)


def _too_large(file: str, size: int, limit: int) -> Problem:
    return Problem(
        file,
        f"is {size / MEBI:.0f} MiB, more than {limit / MEBI:.0f}",
        "submit fewer samples a task, or a coarser trace, in one run",
    )


def _shown(text: str) -> str:
    """A text from a pack, short, on one line and in ASCII."""
    return ascii(text[:80])
