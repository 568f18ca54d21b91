"""The trace of a run on disk: an Arrow stream for each session while the run is unfinished, one Parquet file after."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from passkwh.harness.runs.files import replacing, writing


class TraceWriter:
    """Appends tables to an Arrow stream file; unbuffered, so a killed process loses nothing that was written.

    A table that the disk does not take is taken back whole, so that later ones can be read.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        with writing(path):
            self._file = path.open("wb", buffering=0)
            self._stream = pa.ipc.new_stream(self._file, schema)

    def write(self, table: pa.Table) -> None:
        """Append a table of the schema. Raises UsageError where the disk does not take it."""
        start = self._file.tell()
        with writing(self._path):
            try:
                self._stream.write_table(table.cast(self._schema))
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file.fileno(), start)
                    self._file.seek(start)
                raise

    def close(self) -> None:
        """End the stream."""
        with writing(self._path):
            self._stream.close()
            self._file.close()


def read_stream(path: Path) -> pa.Table | None:
    """What can be read of a stream file whose writer may have been killed."""
    batches: list[pa.RecordBatch] = []
    try:
        with pa.ipc.open_stream(path) as reader:
            while True:
                batches.append(reader.read_next_batch())
    except (StopIteration, pa.ArrowException, OSError):
        pass  # the end, or the point where a kill cut the stream
    return pa.Table.from_batches(batches) if batches else None


def write_trace(path: Path, trace: pa.Table) -> None:
    """Write a whole trace, with checksums of its pages."""
    with writing(path), replacing(path) as file:
        pq.write_table(trace, file, compression="zstd", write_page_checksum=True)


def read_trace(path: Path) -> pa.Table:
    """A whole trace, its checksums verified. Raises OSError or pa.ArrowException for what is damaged or missing."""
    return pq.read_table(path, page_checksum_verification=True)
