"""Reading a run's samples: JSON lines to one table.

A record of every line takes longer to make than all that is then done with it. So a strict reader comes first, which
takes only what the records would take, and gives up on anything else: then each line is read as a record, which says
what is wrong and where, or that the line is good after all (an optional field left out, say). What it checks comes from
the record's fields.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from pydantic import ValidationError

from passkwh.harness.runs.columns import (
    KEYED,
    Column,
    arrow_schema,
    as_array,
    sample_columns,
    statistics_columns,
    table_of,
    whole,
)
from passkwh.records import Sample
from passkwh.stored import is_sealed, unseal
from passkwh.strict_json import distinct

MOST_BYTES = 2**30
"""More lines than this are read record by record: the strict reader takes them as one block."""


class NotASample(ValueError):
    """Why lines cannot be read as samples: where (``line`` from 1, and ``field``), and what is wrong."""

    def __init__(self, why: str, field: str = "", line: int | None = None) -> None:
        super().__init__(f"{f'line {line}: ' if line else ''}not a sample ({f'{field}: ' if field else ''}{why})")
        self.why, self.field, self.line = why, field, line


class Bounds(NamedTuple):
    """Sizes that no text (in characters; completions apart) and no number of somebody else's run may exceed."""

    longest: int
    largest: float

    def problem(self, content: Any) -> tuple[str, str] | None:
        """The first field of ``content`` (of a record as Python objects) that exceeds them, and how."""
        for field, value in _leaves(content, ""):
            if isinstance(value, (int, float)) and not abs(value) <= self.largest:
                return field, f"is {str(value)[:24]}, larger than {self.largest:.0e} or not finite"
            if isinstance(value, str) and len(value) > self.longest:
                return field, f"is a text of {len(value)} characters, more than {self.longest}"
        return None


CHECKSUM = Column("crc32", pa.string())
"""Of a line; read apart, and then not looked at."""
UNBOUNDED = Bounds(2**62, float("inf"))
"""For a run of this machine's own: whatever the records take."""


def parse(content: bytes, bounds: Bounds = UNBOUNDED, counted: Sequence[str] | None = None) -> pa.Table:
    """The samples of JSON lines, in the order of their ``order``; with ``counted`` channels only what statistics take.

    Raises:
        NotASample: for a line that is none, or exceeds ``bounds``.
    """
    only = () if counted is None else statistics_columns(tuple(counted))
    if (table := read_strictly(content, bounds, only)) is not None:
        return table
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    try:
        return table_of([read_line(number, line, bounds) for number, line in enumerate(lines, start=1)])
    except (OverflowError, pa.ArrowException) as error:  # a number that was written as a text
        raise NotASample(f"holds a number larger than {bounds.largest:.0e}") from error


def read_strictly(content: bytes, bounds: Bounds, only: Sequence[Column] = ()) -> pa.Table | None:
    """The table, or ``only`` some columns, or None where any line of it is out of the ordinary in any way."""
    if not content or len(content) > MOST_BYTES:
        return None
    if not (lines := _lines_of_one_object(content)):
        return None
    try:
        columns, table = (only, _read_json(content, only, "ignore")) if only else _read_all(content)
        table.validate(full=True)
        if len(table) != lines:
            return None
        table = _Check(content, bounds).table(table, columns)
    except (ValueError, RecursionError, OverflowError, pa.ArrowException):
        return None
    order = np.argsort(table["order"].to_numpy(), kind="stable")
    return table if np.array_equal(order, np.arange(len(order))) else table.take(pa.array(order))


def _lines_of_one_object(content: bytes) -> int:
    """How many lines there are; 0 where any is no single object: arrow would also take two on a line, or one on two.

    Raises:
        NotASample: for a line whose checksum is not its own.
    """
    lines, start = 0, 0
    while start < len(content):
        lines, end = lines + 1, content.find(b"\n", start)
        try:
            if end < 0 or (not is_sealed(content, start, end) and (content[start] != 123 or content[end - 1] != 125)):
                return 0
        except ValueError as error:
            raise NotASample(str(error), line=lines) from error
        start = end + 1
    return lines


def _read_all(content: bytes) -> tuple[tuple[Column, ...], pa.Table]:
    first = Sample.model_validate_json(unseal(content[: content.index(b"\n")]))
    keys = {name: list(getattr(first, name)) for name in KEYED}
    columns = sample_columns(keys)
    try:
        return columns, _read_json(content, columns)
    except pa.ArrowInvalid:
        columns = sample_columns(_all_keys(content, keys))
        return columns, _read_json(content, columns)


def _read_json(content: bytes, columns: Sequence[Column], unexpected: str = "error") -> pa.Table:
    read = arrow_schema(columns if unexpected == "ignore" else (*columns, CHECKSUM))
    table = pj.read_json(
        pa.BufferReader(content),
        pj.ReadOptions(use_threads=False, block_size=len(content) + 1),
        pj.ParseOptions(explicit_schema=read, unexpected_field_behavior=unexpected),
    )
    return table.select([column.name for column in columns])


def _all_keys(content: bytes, keys: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Channels and metrics of all lines, where a later one has others than the first. Raises where none has."""
    inferred = _read_json(content, sample_columns(keys), "infer").schema
    wider = {name: [field.name for field in inferred.field(name).type] for name in keys}
    if wider == keys:
        raise _OutOfTheOrdinaryError
    return wider


class _OutOfTheOrdinaryError(ValueError):
    """A value that records would not take, or might not."""


class _Check:
    """Whether records would take what arrow read from ``content``, and what they would make of what is left out.

    Arrow tells no field that is left out from one that is null, and records do. So where a column has nulls and only
    one of the two is possible, the field's name must stand in the lines as often as it then would.
    """

    def __init__(self, content: bytes, bounds: Bounds) -> None:
        self._content = content
        self._bounds = bounds
        self._named: Counter[str] = Counter()
        self._doubtful: set[str] = set()

    def table(self, table: pa.Table, columns: Sequence[Column]) -> pa.Table:
        """The table, with defaults where a field is left out. Raises _OutOfTheOrdinaryError."""
        arrays = [self._column(whole(table[column.name]), column) for column in columns]
        for name in self._doubtful:
            if self._content.count(f"{json.dumps(name, ensure_ascii=False)}:".encode()) != self._named[name]:
                raise _OutOfTheOrdinaryError
        return pa.table(arrays, table.schema)

    def _column(self, values: pa.Array, column: Column) -> pa.Array:
        missing = values.null_count
        if column.nullable == column.required:
            self._named[column.name] += len(values) if column.nullable else len(values) - missing
        if missing:
            if column.nullable == column.required:
                self._doubtful.add(column.name)
            elif not column.nullable:
                raise _OutOfTheOrdinaryError
            if column.default is not None:
                values = _filled(values, column)
        if values.null_count < len(values):
            present = values.drop_null() if values.null_count else values
            if pa.types.is_struct(column.kind):
                return self._struct(values, present, column)
            if pa.types.is_list(column.kind):
                self._column(present.flatten(), column.parts[0])
            elif not self._possible(present, column):
                raise _OutOfTheOrdinaryError
        return values

    def _struct(self, values: pa.Array, present: pa.Array, column: Column) -> pa.Array:
        read = present.flatten()
        parts = [self._column(part, inner) for part, inner in zip(read, column.parts, strict=True)]
        if not _fit(dict(zip((part.name for part in column.parts), parts, strict=True))):
            raise _OutOfTheOrdinaryError
        if all(after is before for after, before in zip(parts, read, strict=True)):
            return values
        completed = pa.StructArray.from_arrays(parts, fields=list(column.kind))
        is_valid = values.is_valid().to_numpy(zero_copy_only=False)
        return completed.take(pa.array(np.cumsum(is_valid) - 1, mask=~is_valid))

    def _possible(self, values: pa.Array, column: Column) -> bool:
        """Whether texts are short or possible words, and numbers finite and within bounds."""
        if pa.types.is_string(column.kind):
            if column.words:
                return column.words.issuperset(values.unique().to_pylist())
            if column.name == "text" or self._bounds is UNBOUNDED:
                return True
            return bool(pc.max(pc.binary_length(values)).as_py() <= self._bounds.longest)
        numbers = values.to_numpy(zero_copy_only=False)
        least, most = float(numbers.min()), float(numbers.max())  # of numbers with a NaN both are
        largest = self._bounds.largest
        return -np.inf < least >= max(column.least, -largest) and np.inf > most <= min(column.most, largest)


def _filled(values: pa.Array, column: Column) -> pa.Array:
    """With the default for what is left out."""
    if not pa.types.is_struct(column.kind):
        return pc.fill_null(values, pa.scalar(column.default, column.kind))
    if not column.parts:
        return as_array([column.default] * len(values), column.kind)
    return pa.StructArray.from_arrays(values.flatten(), fields=list(column.kind))


def _fit(parts: Mapping[str, pa.Array]) -> bool:
    """Whether windows end after they start, and a missing energy says why."""
    if "start_ns" in parts:
        return bool(pc.all(pc.greater_equal(parts["end_ns"], parts["start_ns"]), min_count=0).as_py())
    if "reason" in parts and (parts["gross_j"].null_count or parts["net_j"].null_count):
        is_known = pc.and_(parts["gross_j"].is_valid(), parts["net_j"].is_valid())
        says_why = pc.fill_null(pc.not_equal(parts["reason"], ""), False)
        return bool(pc.all(pc.or_(is_known, says_why), min_count=0).as_py())
    return True


SUSPICIOUS = re.compile(rb"[:,\[]\s*-?(?:\d{19}|\d[\d.]*[eE]\+?\d\d)")
"""Only a line with this in it can hold a huge number: looking at every number of a million lines is slow."""


def read_line(number: int, line: bytes, bounds: Bounds = UNBOUNDED) -> Sample:
    """The record of a line. Raises NotASample."""
    try:
        content = unseal(line)
        sample = Sample.model_validate_json(content)
        if content is line:  # nothing says that it is what a record was written as
            json.loads(content, object_pairs_hook=distinct)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part)[:60] for part in problem["loc"]) or "content"
        raise NotASample(problem["msg"][:200].removeprefix("Value error, "), field[:200], number) from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise NotASample(" ".join(str(error).split())[:160] or type(error).__name__, "", number) from error
    if bounds is not UNBOUNDED and (len(line) > bounds.longest or SUSPICIOUS.search(line)):
        problem_at = bounds.problem(sample.model_dump(exclude={"text"}))
        if problem_at is not None:
            raise NotASample(problem_at[1], problem_at[0], number)
    return sample


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
