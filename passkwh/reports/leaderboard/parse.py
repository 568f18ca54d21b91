"""The parts of a pack as records, or the file and field in which they are none."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace
from passkwh.harness.runs.folder import MANIFEST, SAMPLES, SUMMARY, TRACE
from passkwh.records import Manifest, Record, Sample, Summary
from passkwh.reports.leaderboard.pack import AGAIN, Problem
from passkwh.reports.leaderboard.samples import Samples
from passkwh.reports.leaderboard.strict import line_ends, read_strictly

RecordT = TypeVar("RecordT", bound=Record)

MAX_SAMPLES = 2_000_000
MAX_TRACE_ROWS = 50_000_000
"""Four days of three channels every 20 ms."""
MAX_TRACE_BYTES = 4 * 2**30
HUGE = 2.0**62
"""No number of a run is larger: nanoseconds of 146 years."""
SUSPICIOUS = re.compile(rb"[:,\[]\s*-?(?:\d{19}|\d[\d.]*[eE]\+?\d\d)")
"""Only a line with this in it can hold a number beyond ``HUGE``: looking at every number of a million lines is slow."""
MAX_TEXT = 20_000
"""No text of a manifest or summary is longer; completions may be."""


@dataclass(frozen=True)
class Submission:
    """A run as submitted, every record of this version and every number finite and of a possible size."""

    manifest: Manifest
    samples: Samples
    summary: Summary
    trace: Trace


def parse(members: Mapping[str, bytes]) -> Submission:
    """Records from the parts of a pack.

    Raises:
        Problem: naming the part, and the field or line, that is not what it should be.
    """
    manifest = _record(members[MANIFEST], MANIFEST, Manifest)
    summary = _record(members[SUMMARY], SUMMARY, Summary)
    trace = Trace.from_table(_trace(members[TRACE]), manifest.meter.channels)
    return Submission(manifest, _samples(members[SAMPLES]), summary, trace)


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
    check_sizes(record.model_dump(), file, MAX_TEXT)
    return record


def _samples(content: bytes) -> Samples:
    if not content:
        raise Problem(SAMPLES, "holds no sample", "run the benchmark again")
    ends = line_ends(content)
    if len(ends) > MAX_SAMPLES:
        raise Problem(SAMPLES, f"holds {len(ends)} lines, more than {MAX_SAMPLES}", "submit fewer samples in one run")
    found = read_strictly(content, ends, MAX_TEXT, HUGE)
    if found is not None:
        return found
    records = [_sample(n, line) for n, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1)]
    try:
        return Samples.of(records)
    except OverflowError as error:  # a number that was written as a text
        raise Problem(SAMPLES, f"holds a number larger than {HUGE:.0e}", AGAIN) from error


def _sample(number: int, line: bytes) -> Sample:
    try:
        sample = Sample.model_validate_json(line)
    except ValidationError as error:
        field, seen = _first(error)
        raise Problem(SAMPLES, seen, AGAIN, f"line {number}, {field}") from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise Problem(SAMPLES, f"is not a sample ({short(error)})", AGAIN, f"line {number}") from error
    if len(line) > MAX_TEXT or SUSPICIOUS.search(line):
        check_sizes(sample.model_dump(exclude={"text"}), SAMPLES, MAX_TEXT, f"line {number}, ")
    return sample


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


def check_sizes(content: Any, file: str, longest: int, place: str = "") -> None:
    """Refuse numbers that no run can have (they would overflow in sums) and texts that no page can show."""
    for field, value in _leaves(content, ""):
        if isinstance(value, (int, float)) and not abs(value) <= HUGE:
            raise Problem(file, f"is {str(value)[:24]}, larger than {HUGE:.0e} or not finite", AGAIN, f"{place}{field}")
        if isinstance(value, str) and len(value) > longest:
            raise Problem(file, f"is a text of {len(value)} characters, more than {longest}", AGAIN, f"{place}{field}")


def _leaves(content: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield path, key
            yield from _leaves(value, f"{path}.{str(key)[:60]}" if path else str(key)[:60])
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from _leaves(value, f"{path}[{index}]")
    else:
        yield path, content


def _first(error: ValidationError) -> tuple[str, str]:
    """Field and complaint of the first validation error, both short."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part)[:60] for part in problem["loc"]) or "content"
    return field[:200], problem["msg"][:200]


def short(error: object) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
