"""Files of strangers: bounded, strict JSON, and archives whose members are looked at before they are unpacked."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from passkwh import strict_json
from passkwh.clean import one_line
from passkwh.errors import UsageError
from passkwh.records import well_formed

MOST_BYTES = 2**30
"""Of a file, and of all that an archive unpacks to."""
MOST_MEMBER_BYTES = 2**28
"""Of one file in an archive, unpacked."""
MOST_MEMBERS = 200_000
"""Files in an archive."""
MOST_SAMPLES = 1_000_000
LONGEST_TEXT = 2**22
"""Characters of one completion."""
LONGEST_NAME = 300
"""Characters of the name of a task, model, tool or verdict."""
PEEK_BYTES = 2**16
"""What formats are recognised by."""

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ZSTD_METHOD = 93
"""Of members of a ZIP archive (APPNOTE 6.3.8), which Python reads from 3.14 on."""


@dataclass(frozen=True)
class ForeignFile:
    """A file to import, read when it is first asked for.

    Raises UsageError from every member where it cannot be read, is too large, or is not what is asked for.
    """

    path: Path

    @property
    def name(self) -> str:
        """Of the file, as people may see it."""
        return one_line(self.path.name, LONGEST_NAME)

    @cached_property
    def content(self) -> bytes:
        """All of it."""
        try:
            size = self.path.stat().st_size
            if not self.path.is_file():
                raise UsageError(f"{self.path} is no file, but a folder or a device: give the file that the tool wrote")
            if size > MOST_BYTES:
                raise UsageError(f"{self.path} has {size} bytes, more than {MOST_BYTES}: give a part of its samples")
            return self.path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be read ({error.strerror}): give the file that the tool wrote"
            ) from error

    @cached_property
    def head(self) -> bytes:
        """Its beginning."""
        return self.content[:PEEK_BYTES]

    @cached_property
    def sha256(self) -> str:
        """Of its content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def is_zip(self) -> bool:
        """Whether it is a ZIP archive, by its first bytes."""
        return self.head.startswith(_ZIP)

    @cached_property
    def object(self) -> dict[str, Any]:
        """The JSON object that it is."""
        return self.parsed(self.content, str(self.path))

    @cached_property
    def first_row(self) -> dict[str, Any]:
        """The object in its first line; empty where it is none."""
        try:
            row = strict_json.loads(self.content.split(b"\n", 1)[0], constants=True)
        except ValueError:
            return {}
        return row if isinstance(row, dict) else {}

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Where a line is, in words, and the object in it; empty lines are passed over."""
        if self.head.startswith(_GZIP):
            raise UsageError(f"{self.path} is gzip: unpack it")
        count = 0
        for number, line in enumerate(self.content.split(b"\n"), start=1):
            if line.strip():
                count += 1
                if count > MOST_SAMPLES:
                    raise UsageError(f"{self.path} has more than {MOST_SAMPLES} samples: give a part of them")
                where = f"{self.path}, line {number}"
                yield where, self.parsed(line, where)

    def parsed(self, content: bytes, where: str) -> dict[str, Any]:
        """A JSON object, strictly; NaN, which several tools write, is read, and never taken for a figure."""
        try:
            value = strict_json.loads(content, constants=True)
        except ValueError as error:
            raise UsageError(f"{where}: cannot be read as JSON ({one_line(str(error), 200)})") from None
        if not isinstance(value, dict):
            raise UsageError(f"{where}: not a JSON object")
        return value

    # ------------------------------------------------------------ archives

    @cached_property
    def members(self) -> dict[str, zipfile.ZipInfo]:
        """Of a ZIP archive, by name; what it unpacks to is bounded by what its directory states."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UsageError(f"{self.path} cannot be read as a ZIP archive ({one_line(str(error), 200)})") from None
        if len(infos) > MOST_MEMBERS:
            raise UsageError(f"{self.path} has {len(infos)} files in it, more than {MOST_MEMBERS}: give a part of them")
        total = sum(info.file_size for info in infos)
        if total > MOST_BYTES:
            raise UsageError(
                f"{self.path} unpacks to {total} bytes, more than {MOST_BYTES}: give a part of its samples"
            )
        by_name = {info.filename: info for info in infos}
        if len(by_name) < len(infos):
            raise UsageError(f"{self.path} has two files of one name in it: write it again with the tool")
        return by_name

    def member(self, name: str) -> dict[str, Any]:
        """The JSON object in a file of the archive: never more is unpacked than its directory states."""
        where = f"{self.path}, {one_line(name, 120)}"
        info = self.members.get(name)
        if info is None:
            raise UsageError(f"{where}: missing in the archive")
        if info.file_size > MOST_MEMBER_BYTES:
            raise UsageError(f"{where}: unpacks to {info.file_size} bytes, more than {MOST_MEMBER_BYTES}")
        try:
            content = _unpacked(self.content, info)
        except (ValueError, struct.error, zlib.error, OSError) as error:
            raise UsageError(f"{where}: cannot be unpacked ({one_line(str(error), 200)})") from None
        return self.parsed(content, where)


def _unpacked(archive: bytes, info: zipfile.ZipInfo) -> bytes:
    """A member's content: stored, deflated, or Zstandard as inspect_ai has it (not in Python's zipfile)."""
    if info.flag_bits & 1:
        raise ValueError("it is encrypted")
    signature, name_length, extra_length = struct.unpack_from("<4s22xHH", archive, info.header_offset)
    if signature != _ZIP:
        raise ValueError("its directory points beside it")
    start = info.header_offset + 30 + name_length + extra_length
    packed = archive[start : start + info.compress_size]
    if info.compress_type == zipfile.ZIP_STORED:
        content = packed
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, info.file_size + 1)
    elif info.compress_type == _ZSTD_METHOD:
        content = pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read(info.file_size + 1)
    else:
        raise ValueError(f"its compression {info.compress_type} is not known")
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise ValueError("its size or checksum is not what the directory states")
    return content


# ---------------------------------------------------------------- fields


def text_of(value: Any, where: str, what: str, most: int = LONGEST_TEXT) -> str:
    """A text, well-formed; UsageError for anything else, or one that is too long."""
    if not isinstance(value, str):
        raise UsageError(f"{where}: {what} is {type(value).__name__}, not a text")
    if len(value) > most:
        raise UsageError(f"{where}: {what} has {len(value)} characters, more than {most}")
    return well_formed(value)


def name_of(value: Any, where: str, what: str) -> str:
    """A name of a task, model or tool: a text, or a number as MBPP's are, on one line, without control characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return one_line(text_of(value, where, what, LONGEST_NAME)) or "unnamed"


def count_of(value: Any) -> int | None:
    """A count of tokens; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**31 else None


def number_of(value: Any, most: float = 1e9) -> float | None:
    """A figure from 0 to ``most``; None for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= most else None
