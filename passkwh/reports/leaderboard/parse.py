"""The parts of a pack as records, or the file and field in which they are none."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from passkwh import strict_json
from passkwh.clean import one_line
from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY, TRACE
from passkwh.harness.runs.lines import Bounds, NotASample
from passkwh.harness.runs.table import SampleTable
from passkwh.records import Manifest, Record, Summary
from passkwh.reports.leaderboard.pack import AGAIN, Problem
from passkwh.stored import unseal

RecordT = TypeVar("RecordT", bound=Record)

MAX_SAMPLES = 2_000_000
MAX_TRACE_ROWS = 50_000_000
"""Four days of three channels every 20 ms."""
ROWS_PER_BYTE = 1
"""Of a stored trace. Counters and times do not repeat: a reading of a real trace takes about nine bytes."""
MAX_TRACE_RATIO = 50
"""A trace may be so many times as large as what is stored of it; real ones are about twice as large."""
TRACE_ROWS_AT_A_TIME = 2**16
MAX_TRACE_TEXT_BYTES = 64 * 2**20
"""Reasons of missing readings, written out."""
TEXTS = ("channel", "quantity", "reason")
"""Columns of a trace that are read as codes: a text that stands a million times must take its space once."""
HUGE = 2.0**62
"""No number of a run is larger: nanoseconds of 146 years. Larger ones would overflow in sums."""
BOUNDS = Bounds(longest=20_000, largest=HUGE)
"""No text of a manifest or summary is longer, nor can a page show it; completions may be."""
MAX_VALUES = 50_000
"""A manifest or summary holds no more values, names and separators."""
MAX_ENTRIES = 1_000
"""Of one list or table of a record: versions, warnings, channels, sessions, scores, reasons for suspicion, ..."""
MAX_NAMES_IN_A_LINE = 2_000


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
    values = content.count(b",") + content.count(b"{") + content.count(b"[")
    if values > MAX_VALUES:
        raise Problem(file, f"holds about {values} values, more than {MAX_VALUES}", AGAIN)
    try:
        content = unseal(content)
    except ValueError as error:
        raise Problem(file, f"is damaged ({error})", AGAIN) from error
    try:
        parsed = strict_json.loads(content, constants=True)
    except ValueError as error:
        raise Problem(file, f"is not JSON ({short(error)})", AGAIN) from error
    if (field := _crowded(parsed)) is not None:
        raise Problem(file, f"has more than {MAX_ENTRIES} entries", AGAIN, field)
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


def _crowded(content: Any, path: str = "") -> str | None:
    """The first list or table of ``content`` with too many entries."""
    if not isinstance(content, dict | list):
        return None
    if len(content) > MAX_ENTRIES:
        return path or "content"
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    crowded = (_crowded(value, f"{path}.{str(key)[:60]}".lstrip(".")) for key, value in entries)
    return next((field for field in crowded if field is not None), None)


def _samples(content: bytes) -> SampleTable:
    if not content:
        raise Problem(SAMPLES, "holds no sample", "run the benchmark again")
    if (lines := content.count(b"\n")) > MAX_SAMPLES:
        raise Problem(SAMPLES, f"holds {lines} lines, more than {MAX_SAMPLES}", "submit fewer samples in one run")
    for number, line in enumerate(content.split(b"\n") if b"\n" in content else [content], start=1):
        if line.count(b'":') > MAX_NAMES_IN_A_LINE or line.count(b",") > 20 * MAX_NAMES_IN_A_LINE:
            _check_line(number, line)
    try:
        return SampleTable.parse(content, BOUNDS)
    except NotASample as error:
        place = ", ".join(part for part in (f"line {error.line}" if error.line else "", error.field) if part)
        raise Problem(SAMPLES, error.why, AGAIN, place) from error


def _check_line(number: int, line: bytes) -> None:
    """Refuse a line with too many entries; most that seem to have many only have a long text."""
    try:
        sample = strict_json.loads(line, constants=True)
    except ValueError as error:
        raise Problem(SAMPLES, f"is not JSON ({short(error)})", AGAIN, f"line {number}") from error
    if isinstance(sample, dict):
        for long in ("exit_layers", "drafts"):  # one a token, and one a pass
            sample.pop(long, None)
    if (field := _crowded(sample)) is not None:
        raise Problem(SAMPLES, f"has more than {MAX_ENTRIES} entries", AGAIN, f"line {number}, {field}")


def _trace(content: bytes) -> pa.Table:
    try:
        file = pq.ParquetFile(io.BytesIO(content), read_dictionary=TEXTS)
        rows = file.metadata.num_rows
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if rows > min(MAX_TRACE_ROWS, 1000 + ROWS_PER_BYTE * len(content)) or unpacked > 2**20 + MAX_TRACE_RATIO * len(
            content
        ):
            raise _too_much(f"{rows} rows of {unpacked / 2**20:.0f} MiB in {len(content) / 2**20:.1f} MiB")
        if not _same_columns(file.schema_arrow):
            raise Problem(TRACE, f"has not the columns {', '.join(TRACE_SCHEMA.names)} of a trace", AGAIN)
        table = pa.Table.from_batches(_bounded(file, rows), file.schema_arrow)
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


def _bounded(file: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    """The trace piece by piece, as far as it keeps to what its metadata say."""
    text_bytes = 0
    for batch in file.iter_batches(TRACE_ROWS_AT_A_TIME):
        rows -= batch.num_rows
        for name in TEXTS:
            column = batch.column(name)
            longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
            text_bytes += longest * (len(column) - column.null_count if name == "reason" else 1)
        if rows < 0 or text_bytes > MAX_TRACE_TEXT_BYTES:
            raise _too_much(f"more rows than stated, or texts of {text_bytes / 2**20:.0f} MiB")
        yield batch


def _too_much(seen: str) -> Problem:
    return Problem(TRACE, f"holds {seen}, more than a meter writes", "submit fewer samples in one run")


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
    field = ".".join(one_line(str(part), 60) for part in problem["loc"]) or "content"
    return field[:200], one_line(problem["msg"].removeprefix("Value error, "), 200)


def short(error: object) -> str:
    """An error's text on one line."""
    return one_line(str(error), 160) or type(error).__name__
