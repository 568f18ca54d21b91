"""The trace of a run on disk: a file of checked pieces for each session while the run is unfinished, one Parquet file
after.

A piece is an Arrow stream of its own behind a head with its length and checksum, which is compared before Arrow reads a
byte: on a damaged stream Arrow may return wrong values, or end the process. Earlier programs wrote one Arrow stream a
session, without checksums; those are still read.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from passkwh.harness.runs.files import replacing, writing

_HEAD = struct.Struct("<4sQI")
"""Mark, length of the piece in bytes, and its CRC-32; then the CRC-32 of these."""
_HEAD_CHECKSUM = struct.Struct("<I")
_MARK = b"TRC\x02"
_OLD_MARK = b"\xff\xff\xff\xff"
"""How an Arrow stream begins."""


class DamagedTraceError(ValueError):
    """A trace is not what was written."""


class TraceWriter:
    """Appends tables to the file of a session; unbuffered, so a killed process loses nothing that was written.

    A table that the disk does not take is taken back whole, so that later ones can be read.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        with writing(path):
            self._file = path.open("wb", buffering=0)

    def write(self, table: pa.Table) -> None:
        """Append a table of the schema. Raises UsageError where the disk does not take it."""
        start = self._file.tell()
        content = _piece(table.cast(self._schema))
        with writing(self._path):
            try:
                while content:  # on a disk that is nearly full a write is cut short; the next one says why
                    content = content[self._file.write(content) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file.fileno(), start)
                    self._file.seek(start)
                raise

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


def _piece(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    content = stream.getvalue()
    head = _HEAD.pack(_MARK, len(content), zlib.crc32(content))
    return head + _HEAD_CHECKSUM.pack(zlib.crc32(head)) + content


def read_stream(path: Path) -> pa.Table | None:
    """What can be read of the file of a session whose writer may have been killed; None where that is nothing.

    Raises:
        DamagedTraceError: a piece is not what was written.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    batches: list[pa.RecordBatch] = []
    try:
        for piece in [content] if content.startswith(_OLD_MARK) else _pieces(content):
            with pa.ipc.open_stream(piece) as reader:
                batches.extend(reader)
    except pa.ArrowException:
        pass  # the point where a kill cut the one stream of an earlier program
    return pa.Table.from_batches(batches) if batches else None


def _pieces(content: bytes) -> Iterator[bytes]:
    """The pieces of a file, without a last one that a kill left half written."""
    start, number = 0, 1
    while len(content) >= (begin := start + _HEAD.size + _HEAD_CHECKSUM.size):
        head = content[start : start + _HEAD.size]
        mark, length, checksum = _HEAD.unpack(head)
        if mark != _MARK or content[start + _HEAD.size : begin] != _HEAD_CHECKSUM.pack(zlib.crc32(head)):
            raise DamagedTraceError(f"the head of its piece {number} was changed")
        if len(content) < begin + length:
            return
        piece = content[begin : begin + length]
        if zlib.crc32(piece) != checksum:
            raise DamagedTraceError(f"the checksum of its piece {number} does not match")
        yield piece
        start, number = begin + length, number + 1


def write_trace(path: Path, trace: pa.Table) -> None:
    """Write a whole trace, with checksums of its pages."""
    with writing(path), replacing(path) as file:
        pq.write_table(trace, file, compression="zstd", write_page_checksum=True)


def read_trace(path: Path) -> pa.Table:
    """A whole trace, its checksums verified. Raises OSError or pa.ArrowException for what is damaged or missing."""
    return pq.read_table(path, page_checksum_verification=True)
