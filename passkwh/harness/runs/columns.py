"""The schema of a run's samples, taken from the record, and records as columns of it.

A column a field of :class:`passkwh.records.Sample`, in its order; an integer is int64, a number float64, a word or text
string, a window or verdict a struct. Energies are a struct with a field a channel and ``scores`` one with a field a
metric, so the schema of a run depends on its channels and metrics and on nothing else. A field that is added to the
record is a column here without another line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from passkwh.records import Energy, Sample

ENERGIES = ("generation_energy", "prefill_energy", "reasoning_energy", "evaluation_energy")
"""Columns of energies, each a struct with a field a channel."""
KEYED = (*ENERGIES, "scores")
"""Columns whose fields are each run's own."""
TAKEN_AS_THEY_ARE = (
    "key", "task_id", "sample_index", "order", "batch_id", "batch_size", "prompt_tokens", "completion_tokens",
    "finish_reason", "latency_s",
)  # fmt: skip
"""Columns of statistics that are the table's own."""


def table_of(samples: Sequence[Sample]) -> pa.Table:
    """Records as a table, in the order of their ``order``.

    Raises:
        OverflowError: for an integer of more than 64 bits.
    """
    ordered = sorted(samples, key=lambda sample: sample.order)
    keys = {name: list(dict.fromkeys(key for sample in samples for key in getattr(sample, name))) for name in KEYED}
    columns = sample_columns(keys)
    arrays = [as_array([getattr(sample, column.name) for sample in ordered], column.kind) for column in columns]
    return pa.table(arrays, arrow_schema(columns))


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Names and types of columns."""
    return pa.schema([pa.field(column.name, column.kind) for column in columns])


def sample_columns(keys: Mapping[str, Sequence[str]]) -> tuple[Column, ...]:
    """Of a run; ``keys`` are the channels of each column of ``ENERGIES``, and those of scores."""
    return _columns_of_keys(tuple((name, tuple(names)) for name, names in keys.items()))


@lru_cache(maxsize=64)
def _columns_of_keys(keys: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[Column, ...]:
    return _columns(Sample, dict(keys))


@lru_cache(maxsize=64)
def statistics_columns(counted: tuple[str, ...]) -> tuple[Column, ...]:
    """What statistics take: of energies those of the counted channels, null where records have none."""
    columns = {column.name: column for column in sample_columns({})}
    read = ("gross_j", "net_j", "se_j")
    joules = [column._replace(required=False) for column in _columns(Energy, {}) if column.name in read]
    energy = tuple(_struct(channel, tuple(joules))._replace(nullable=True, required=False) for channel in counted)
    parts = {"generation_energy": energy, "evaluation_energy": energy}
    for name, field in (("evaluation", "session"), ("verdict", "status"), ("reasoning", "tokens")):
        parts[name] = tuple(part for part in columns[name].parts if part.name == field)
    structs = (_struct(name, fields)._replace(nullable=True, required=False) for name, fields in parts.items())
    return (*(columns[name] for name in (*TAKEN_AS_THEY_ARE, "ttft_s")), *structs)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column of a table as one array, without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


class Column(NamedTuple):
    """A column, or a part of one, and what the record demands of its values."""

    name: str
    kind: pa.DataType
    nullable: bool = False
    """A value may be null."""
    required: bool = True
    """A value may not be left out."""
    default: Any = None
    """Of a value that is left out, where that is not a missing one."""
    least: float = -np.inf
    most: float = np.inf
    words: frozenset[str] = frozenset()
    """The only possible ones; any where empty."""
    parts: tuple[Column, ...] = ()
    """Of a struct its fields, of a list what is in it."""


def _columns(record: type[BaseModel], keys: Mapping[str, Sequence[str]]) -> tuple[Column, ...]:
    columns = []
    for name, field in record.model_fields.items():
        column = _column(name, field.annotation, keys.get(name, ()))
        required, default = field.is_required(), None if field.is_required() else field.get_default()
        columns.append(_bounded(column, field.metadata)._replace(required=required, default=default))
    return tuple(columns)


def _bounded(column: Column, rules: Sequence[Any]) -> Column:
    """With the edges that a field's rules set, the narrowest of each."""
    inner = [rule for outer in rules for rule in getattr(outer, "metadata", [outer])]
    least = max([column.least, *(rule.ge for rule in inner if hasattr(rule, "ge"))])
    most = min([column.most, *(rule.le for rule in inner if hasattr(rule, "le"))])
    return column._replace(least=least, most=most)


def _column(name: str, annotation: Any, keys: Sequence[str]) -> Column:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_column(name, arguments[0], keys), arguments[1:])
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _column(name, inner, keys)._replace(nullable=True)
    if origin is Literal:
        return Column(name, pa.string(), words=frozenset(arguments))
    if origin is tuple:
        item = _column("item", arguments[0], ())
        return Column(name, pa.list_(pa.field("item", item.kind)), parts=(item,))
    if origin is dict:
        return _struct(name, tuple(_column(key, arguments[1], ())._replace(required=False) for key in keys))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _struct(name, _columns(annotation, {}))
    return Column(name, {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}[annotation])


def _struct(name: str, parts: tuple[Column, ...]) -> Column:
    return Column(name, pa.struct([pa.field(part.name, part.kind) for part in parts]), parts=parts)


def as_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values of records as a column; column by column, as a run may have a million samples."""
    if not pa.types.is_struct(kind) or not kind.num_fields:
        return pa.array(values, kind)
    fields = [kind.field(i) for i in range(kind.num_fields)]
    parts = [as_array([_part(value, field.name) for value in values], field.type) for field in fields]
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(parts, fields=fields, mask=missing)


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None if value is None else getattr(value, name)
