"""The parts of a pack as records, or the file and field in which they are none."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY, TRACE
from passkwh.harness.runs.lines import Bounds, NotASample
from passkwh.harness.runs.table import SampleTable
from passkwh.records import Manifest, Record, Summary
from passkwh.reports.leaderboard.pack import AGAIN, Problem

RecordT = TypeVar("RecordT", bound=Record)

MAX_SAMPLES = 2_000_000
MAX_TRACE_ROWS = 50_000_000
"""Four days of three channels every 20 ms."""
MAX_TRACE_BYTES = 4 * 2**30
HUGE = 2.0**62
"""No number of a run is larger: nanoseconds of 146 years. Larger ones would overflow in sums."""
BOUNDS = Bounds(longest=20_000, largest=HUGE)
"""No text of a manifest or summary is longer, nor can a page show it; completions may be."""


@dataclass(frozen=True)
class Submission:
    """A run as submitted, every record of this version and every number finite and of a possible size."""

    manifest: Manifest
    samples: SampleTable
    summary: Summary
    trace_table: pa.Table
    trace: Trace


def parse(members: Mapping[str, bytes]) -> Submission:
    """Records from the parts of a pack.

    Raises:
        Problem: naming the part, and the field or line, that is not what it should be.
    """
    manifest = _record(members[MANIFEST], MANIFEST, Manifest)
    summary = _record(members[SUMMARY], SUMMARY, Summary)
    table = _trace(members[TRACE])
    trace = Trace.from_table(table, manifest.meter.channels)
    return Submission(manifest, _samples(members[SAMPLES]), summary, table, trace)


def _record(content: bytes, file: str, kind: type[RecordT]) -> RecordT:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Problem(file, f"is not JSON ({short(error)})", AGAIN) from error
    try:
        record = kind.model_validate(parsed)
    except ValidationError as error:
        field, seen = _first(error)
        raise Problem(file, seen, AGAIN, field) from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise Problem(file, f"is not a {kind.__name__.lower()} ({short(error)})", AGAIN) from error
    if (problem := BOUNDS.problem(record.model_dump())) is not None:
        raise Problem(file, problem[1], AGAIN, problem[0])
    return record


def _samples(content: bytes) -> SampleTable:
    if not content:
        raise Problem(SAMPLES, "holds no sample", "run the benchmark again")
    if (lines := content.count(b"\n")) > MAX_SAMPLES:
        raise Problem(SAMPLES, f"holds {lines} lines, more than {MAX_SAMPLES}", "submit fewer samples in one run")
    try:
        return SampleTable.parse(content, BOUNDS)
    except NotASample as error:
        place = ", ".join(part for part in (f"line {error.line}" if error.line else "", error.field) if part)
        raise Problem(SAMPLES, error.why, AGAIN, place) from error


def _trace(content: bytes) -> pa.Table:
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        rows = file.metadata.num_rows
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        unpacked = sum(group.total_byte_size for group in groups)
        if rows > MAX_TRACE_ROWS or unpacked > MAX_TRACE_BYTES:
            raise Problem(
                TRACE,
                f"has {rows} rows of {unpacked / 2**20:.0f} MiB, more than {MAX_TRACE_ROWS} of "
                f"{MAX_TRACE_BYTES / 2**20:.0f} MiB",
                "submit fewer samples in one run",
            )
        if not _same_columns(file.schema_arrow):
            raise Problem(TRACE, f"has not the columns {', '.join(TRACE_SCHEMA.names)} of a trace", AGAIN)
        table = file.read()
    except Problem:
        raise
    except Exception as error:  # whatever a parser of a foreign binary file comes up with
        raise Problem(TRACE, f"is not a readable Parquet file ({short(error)})", AGAIN) from error
    for name in ("session", "time_ns", "channel", "quantity"):
        if table[name].null_count:
            raise Problem(TRACE, "is missing in a row", AGAIN, name)
    values = table["value"].drop_null().to_numpy()
    if len(values) and not (np.isfinite(values).all() and np.abs(values).max() <= HUGE):
        raise Problem(TRACE, f"is not finite, or larger than {HUGE:.0e}", AGAIN, "value")
    times = table["time_ns"]
    if table.num_rows and max(abs(pc.min(times).as_py()), abs(pc.max(times).as_py())) > HUGE:
        raise Problem(TRACE, f"is larger than {HUGE:.0e}", AGAIN, "time_ns")
    try:
        table = table.cast(TRACE_SCHEMA)
        table.validate(full=True)
    except pa.ArrowException as error:
        raise Problem(TRACE, f"is damaged ({short(error)})", AGAIN) from error
    return table


def _same_columns(schema: pa.Schema) -> bool:
    """Columns by name and type, a text being a dictionary or plain."""

    def plain(kind: pa.DataType) -> pa.DataType:
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    return schema.names == TRACE_SCHEMA.names and all(
        plain(field.type) == plain(wanted.type) for field, wanted in zip(schema, TRACE_SCHEMA, strict=True)
    )


def _first(error: ValidationError) -> tuple[str, str]:
    """Field and complaint of the first validation error, both short."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part)[:60] for part in problem["loc"]) or "content"
    return field[:200], problem["msg"][:200].removeprefix("Value error, ")


def short(error: object) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
