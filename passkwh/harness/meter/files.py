"""A trace in a file of its own: rows, channels and windows together, readable on any machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from passkwh.errors import UsageError
from passkwh.harness.meter.trace import Trace
from passkwh.records import ChannelInfo, Window

KEY = b"passkwh"


def save_trace(path: Path, table: pa.Table, channels: Sequence[ChannelInfo], windows: Sequence[Window]) -> None:
    """Write rows of ``TRACE_SCHEMA`` as Parquet with channels and windows in its metadata; UsageError if impossible."""
    about = {
        "channels": [channel.model_dump(mode="json") for channel in channels],
        "windows": [window.model_dump(mode="json") for window in windows],
    }
    try:
        pq.write_table(table.replace_schema_metadata({KEY: json.dumps(about).encode()}), path, compression="zstd")
    except OSError as error:
        raise UsageError(f"cannot write the trace {path}: {error}") from error


def load_trace(path: Path) -> tuple[Trace, list[Window]]:
    """A trace saved by :func:`save_trace` and its windows; UsageError for anything else."""
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[KEY])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise UsageError(f"{path} is not a trace saved by 'bench meter run --save'") from error
    channels = [ChannelInfo.model_validate(channel) for channel in about["channels"]]
    return Trace.from_table(table, channels), [Window.model_validate(window) for window in about["windows"]]
