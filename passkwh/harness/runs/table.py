"""The one table of a run's samples: what the runner appends, and what integration, statistics and the board use.

The schema is that of the record (:class:`passkwh.records.Sample`): a column a field, in its order; an integer is int64,
a number float64, a word or text string, a window or verdict a struct. Energies are a struct with a field a channel and
``scores`` a struct with a field a metric, so the schema of a run depends on its channels and metrics and on nothing
else. On disk a run's samples are JSON lines; :meth:`SampleTable.parse` reads them.

A record of every line takes longer to make than all that is then done with it. So a strict reader comes first, which
takes only what the records would take, and gives up on anything else: then each line is read as a record, which says
what is wrong and where, or that the line is good after all (an optional field left out, say). What it checks comes from
the record's fields, so a field that is added to the record is a column here, and is checked, without another line.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from pydantic import BaseModel, ValidationError

from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.series import Bools, Floats, Ints
from passkwh.records import Sample, Window

SCORED = ("pass", "fail", "timeout", "error")
"""Outcomes that count; a sample that was not evaluated counts neither way."""
ENERGIES = ("generation_energy", "prefill_energy", "evaluation_energy")
"""Columns of energies, each a struct with a field a channel."""
KEYED = (*ENERGIES, "scores")
"""Columns whose fields are each run's own."""
KINDS: tuple[str, ...] = tuple(sorted(get_args(Window.model_fields["kind"].annotation)))
"""Kinds of windows; ``generation_kind`` and ``evaluation_kind`` are places in it."""
TAKEN_AS_THEY_ARE = (
    "key", "task_id", "sample_index", "order", "batch_id", "batch_size", "prompt_tokens", "completion_tokens",
    "finish_reason", "latency_s",
)  # fmt: skip
"""Columns of statistics that are the table's own."""
NO_BATCH = -(2**63)
"""Stands for the batch of a window that names none."""
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


UNBOUNDED = Bounds(2**62, float("inf"))
"""For a run of this machine's own: whatever the records take."""


class StatedEnergy(NamedTuple):
    """Energies of one channel as the samples state them, shape (n,): NaN where a value, or the channel, is missing."""

    is_stated: Bools
    gross_j: Floats
    net_j: Floats


def _integers(name: str) -> cached_property[Ints]:
    """A column of integers as it stands."""
    return cached_property(lambda samples: _ints(samples._column(name)))


def _numbers(name: str) -> cached_property[Floats]:
    """A column of numbers as it stands, NaN where missing."""
    return cached_property(lambda samples: _floats(samples._column(name)))


@dataclass(frozen=True)
class SampleTable:
    """Samples in the order of their ``order``: the Arrow table, and arrays of shape (n,) of what is computed with."""

    table: pa.Table

    # ------------------------------------------------------------ making one

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SampleTable:
        """From records, in any order.

        Raises:
            OverflowError: for an integer of more than 64 bits.
        """
        ordered = sorted(samples, key=lambda sample: sample.order)
        keys = {name: list(dict.fromkeys(key for sample in samples for key in getattr(sample, name))) for name in KEYED}
        columns = _sample_columns(keys)
        arrays = [_array([getattr(sample, column.name) for sample in ordered], column.kind) for column in columns]
        return cls(pa.table(arrays, schema(keys)))

    @classmethod
    def parse(cls, content: bytes, bounds: Bounds = UNBOUNDED) -> SampleTable:
        """From JSON lines, one sample a line, in any order.

        Raises:
            NotASample: for a line that is none, or exceeds ``bounds``.
        """
        table = _read_strictly(content, bounds)
        if table is not None:
            return cls(table)
        lines = content.removesuffix(b"\n").split(b"\n") if content else []
        records = [_read_line(number, line, bounds) for number, line in enumerate(lines, start=1)]
        try:
            return cls.of(records)
        except (OverflowError, pa.ArrowException) as error:  # a number that was written as a text
            raise NotASample(f"holds a number larger than {bounds.largest:.0e}") from error

    @classmethod
    def parse_for_statistics(cls, content: bytes, counted: Sequence[str]) -> SampleTable:
        """Of a complete run of this machine's own, only what :meth:`statistics` of these channels takes.

        What it takes is checked and the rest is not looked at, unless anything is out of the ordinary: it takes a fifth
        less time. Raises as :meth:`parse` does.
        """
        table = _read_strictly(content, UNBOUNDED, _statistics_columns(tuple(counted)))
        return cls.parse(content) if table is None else cls(table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    # ------------------------------------------------------------ identity and order

    @cached_property
    def keys(self) -> list[str]:
        """Of the samples."""
        return _texts(self._column("key"))

    @property
    def distinct_keys(self) -> int:
        """As many as samples, unless one stands more than once."""
        return int(pc.count_distinct(self._column("key")).as_py())

    @cached_property
    def tasks(self) -> list[str]:
        """Task of each sample, by name."""
        return _texts(self._column("task_id"))

    @cached_property
    def task(self) -> Ints:
        """Number of the task, from 0, in order of appearance."""
        return _numbered(self._column("task_id"))

    @cached_property
    def batch(self) -> Ints:
        """Number of the batch, from 0, in order of appearance."""
        return _numbered(self._column("batch_id"))

    @cached_property
    def firsts(self) -> Ints:
        """Position of the first sample of each batch."""
        return np.asarray(np.unique(self.batch, return_index=True)[1], np.int64)

    order = _integers("order")
    """Place in time within the run."""
    sample_index = _integers("sample_index")
    """Place among the samples of the task."""
    batch_id = _integers("batch_id")
    """The batch as the sample names it."""
    batch_size = _integers("batch_size")
    """Samples that were generated together with this one, itself too."""
    # ------------------------------------------------------------ generation

    prompt_tokens = _integers("prompt_tokens")
    """Tokens of the prompt."""
    completion_tokens = _integers("completion_tokens")
    """Tokens of the completion."""
    cached_tokens = _numbers("cached_tokens")
    """Prompt tokens that a server had from an earlier request; NaN where not known."""
    retries = _integers("retries")
    """How often a server was asked again."""
    latency_s = _numbers("latency_s")
    """Duration of the batch."""
    ttft_s = _numbers("ttft_s")
    """Time to the first token; NaN where not known."""

    @cached_property
    def exit_layers(self) -> Ints:
        """Of all tokens of all samples, where known."""
        return _ints(self._column("exit_layers").flatten())

    @cached_property
    def generation(self) -> Spans:
        """Windows of the batches, of every sample."""
        return _spans(self._column("generation"))

    @cached_property
    def generation_kind(self) -> Ints:
        """Kind of the generation window, as its place in ``KINDS``."""
        return _kinds(self._column("generation"))

    @cached_property
    def generation_batch(self) -> Ints:
        """The batch that the generation window names, or ``NO_BATCH``."""
        return _ints(pc.fill_null(self._column("generation").field("batch_id"), NO_BATCH))

    # ------------------------------------------------------------ evaluation

    @cached_property
    def is_scored(self) -> Bools:
        """Whether the sample has an evaluation window."""
        return _valid(self._column("evaluation"))

    @cached_property
    def scored(self) -> Ints:
        """Positions of the samples that were scored, shape (m,)."""
        return np.flatnonzero(self.is_scored)

    @cached_property
    def evaluation(self) -> Spans:
        """Of the scored samples, shape (m,)."""
        return _spans(self._column("evaluation").drop_null())

    @cached_property
    def evaluation_kind(self) -> Ints:
        """Of the scored samples, shape (m,): the kind of window, as its place in ``KINDS``."""
        return _kinds(self._column("evaluation").drop_null())

    @cached_property
    def evaluation_cpu_s(self) -> Floats:
        """Of the scored samples, shape (m,); 0 where not known."""
        return np.nan_to_num(_floats(self._column("evaluation_cpu_s"))[self.scored])

    @cached_property
    def status(self) -> list[str | None]:
        """Of the verdict; None where there is none."""
        statuses: list[str | None] = self._verdict("status").to_pylist()
        return statuses

    @cached_property
    def detail(self) -> list[str]:
        """Of the verdict; empty where there is none."""
        return [text or "" for text in self._verdict("detail").to_pylist()]

    @cached_property
    def judged(self) -> Bools:
        """Whether there is a verdict, be it that nothing was evaluated."""
        return _valid(self._column("verdict"))

    @cached_property
    def evaluated(self) -> Bools:
        """Whether the outcome counts."""
        return _bools(pc.is_in(self._verdict("status"), pa.array(SCORED)))

    @cached_property
    def passed(self) -> Bools:
        """Whether the sample passed."""
        return _bools(pc.fill_null(pc.equal(self._verdict("status"), "pass"), False))

    @cached_property
    def doubted(self) -> Bools:
        """Passes under suspicion."""
        return self.passed & (_ints(pc.fill_null(pc.list_value_length(self._verdict("suspect")), 0)) > 0)

    @property
    def first_silent(self) -> str:
        """Why the first sample that was not evaluated was not; empty where all were."""
        silent = np.flatnonzero(self.judged & ~self.evaluated)
        return self.detail[silent[0]] if len(silent) else ""

    @property
    def first_doubt(self) -> str:
        """Why the first pass under suspicion is; empty where none is."""
        doubted = np.flatnonzero(self.doubted)
        return str(self._verdict("suspect")[int(doubted[0])][0].as_py()) if len(doubted) else ""

    def counts(self, *, trusted: bool = False) -> list[tuple[int, int]]:
        """(evaluated samples, passes) of each task; what was not evaluated counts neither way."""
        passed = self.passed & ~self.doubted if trusted else self.passed
        evaluated = np.bincount(self.task[self.evaluated])
        passes = np.bincount(self.task[passed], minlength=len(evaluated))
        return [(n, c) for n, c in zip(evaluated.tolist(), passes.tolist(), strict=True) if n]

    def windows(self) -> list[tuple[int, str, int, int]]:
        """Session, kind, start and end (ns) of every window of generating and of scoring, each once."""
        both = ((self.generation_kind, self.generation), (self.evaluation_kind, self.evaluation))
        rows = [np.stack([spans.session, kind, spans.start_ns, spans.end_ns], axis=1) for kind, spans in both]
        distinct = np.unique(np.concatenate(rows), axis=0).tolist()
        return [(session, KINDS[kind], start_ns, end_ns) for session, kind, start_ns, end_ns in distinct]

    # ------------------------------------------------------------ energies

    def channels(self, part: str) -> list[str]:
        """Channels of which some sample states an energy; ``part`` is a column of ``ENERGIES``."""
        kind = self.table.schema.field(part).type
        return [kind.field(i).name for i in range(kind.num_fields)]

    def energy(self, part: str, channel: str) -> StatedEnergy | None:
        """Energies of one channel; None where no sample states one."""
        if channel not in self.channels(part):
            return None
        values = self._column(part).field(channel)
        gross_j, net_j = (pc.struct_field(values, name) for name in ("gross_j", "net_j"))
        return StatedEnergy(_valid(values), _floats(gross_j), _floats(net_j))

    def channels_stated(self, part: str) -> Ints:
        """How many channels each sample states."""
        count = np.zeros(len(self), dtype=np.int64)
        for channel in self.channels(part):
            if (stated := self.energy(part, channel)) is not None:
                count += stated.is_stated
        return count

    def _counted_j(self, part: str, counted: Sequence[str]) -> tuple[Floats, Floats]:
        """Gross and net energy over the counted channels: NaN where there is none, or one is missing."""
        stated = [one for channel in counted if (one := self.energy(part, channel)) is not None]
        if not counted or len(stated) < len(counted):
            return np.full(len(self), np.nan), np.full(len(self), np.nan)
        return np.sum([one.gross_j for one in stated], axis=0), np.sum([one.net_j for one in stated], axis=0)

    # ------------------------------------------------------------ what statistics use

    def statistics(self, counted: Sequence[str]) -> pa.Table:
        """A row a sample with the columns of :class:`passkwh.analysis.frames.Frames` but ``run``.

        Energies are over the channels in ``counted``, missing where that of any of these is; ``generation_s`` is the
        sample's share of its batch; ``passed`` is 1, 0, or missing where there is no verdict that counts.
        """
        generation_gross_j, generation_net_j = self._counted_j("generation_energy", counted)
        evaluation_gross_j, evaluation_net_j = self._counted_j("evaluation_energy", counted)
        columns = {name: self._column(name) for name in TAKEN_AS_THEY_ARE}
        for name in ("sample_index", "batch_size"):
            columns[name] = columns[name].cast(pa.int32())
        return pa.table(
            {
                **columns,
                "generation_s": self.latency_s / self.batch_size,
                "ttft_s": self.ttft_s,
                "passed": np.where(self.evaluated, self.passed.astype(np.float64), np.nan),
                "generation_gross_j": generation_gross_j,
                "generation_net_j": generation_net_j,
                "evaluation_gross_j": evaluation_gross_j,
                "evaluation_net_j": evaluation_net_j,
                "gross_j": generation_gross_j + np.where(self.is_scored, evaluation_gross_j, 0.0),
                "net_j": generation_net_j + np.where(self.is_scored, evaluation_net_j, 0.0),
            }
        )

    # ------------------------------------------------------------ columns

    def _column(self, name: str) -> pa.Array:
        column = self.table[name]
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def _verdict(self, name: str) -> pa.Array:
        """A field of the verdict, null where there is none."""
        return pc.struct_field(self._column("verdict"), name)


# ---------------------------------------------------------------- the schema, from the record


def schema(keys: Mapping[str, Sequence[str]]) -> pa.Schema:
    """The schema of a run's samples; ``keys`` are the channels of each column of ``ENERGIES``, and those of scores."""
    return _schema(_sample_columns(keys))


def _schema(columns: Sequence[_Column]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.kind) for column in columns])


def _sample_columns(keys: Mapping[str, Sequence[str]]) -> tuple[_Column, ...]:
    return _columns_of_keys(tuple((name, tuple(names)) for name, names in keys.items()))


@lru_cache(maxsize=64)
def _columns_of_keys(keys: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[_Column, ...]:
    return _columns(Sample, dict(keys))


@lru_cache(maxsize=64)
def _statistics_columns(counted: tuple[str, ...]) -> tuple[_Column, ...]:
    """What statistics take: of energies those of the counted channels, null where records have none."""
    columns = {column.name: column for column in _sample_columns({})}
    joules = tuple(_Column(name, pa.float64(), nullable=True, required=False) for name in ("gross_j", "net_j"))
    energy = tuple(_struct(channel, joules)._replace(nullable=True, required=False) for channel in counted)
    parts = {"generation_energy": energy, "evaluation_energy": energy}
    for name, field in (("evaluation", "session"), ("verdict", "status")):
        parts[name] = tuple(part for part in columns[name].parts if part.name == field)
    structs = (_struct(name, fields)._replace(nullable=True, required=False) for name, fields in parts.items())
    return (*(columns[name] for name in (*TAKEN_AS_THEY_ARE, "ttft_s")), *structs)


class _Column(NamedTuple):
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
    parts: tuple[_Column, ...] = ()
    """Of a struct its fields, of a list what is in it."""


def _columns(record: type[BaseModel], keys: Mapping[str, Sequence[str]]) -> tuple[_Column, ...]:
    columns = []
    for name, field in record.model_fields.items():
        column = _column(name, field.annotation, keys.get(name, ()))
        edges = {end: getattr(rule, end) for rule in field.metadata for end in ("ge", "le") if hasattr(rule, end)}
        columns.append(
            column._replace(
                required=field.is_required(),
                default=None if field.is_required() else field.get_default(),
                least=edges.get("ge", -np.inf),
                most=edges.get("le", np.inf),
            )
        )
    return tuple(columns)


def _column(name: str, annotation: Any, keys: Sequence[str]) -> _Column:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _column(name, inner, keys)._replace(nullable=True)
    if origin is Literal:
        return _Column(name, pa.string(), words=frozenset(arguments))
    if origin is tuple:
        item = _column("item", arguments[0], ())
        return _Column(name, pa.list_(pa.field("item", item.kind)), parts=(item,))
    if origin is dict:
        return _struct(name, tuple(_column(key, arguments[1], ())._replace(required=False) for key in keys))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _struct(name, _columns(annotation, {}))
    return _Column(name, {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}[annotation])


def _struct(name: str, parts: tuple[_Column, ...]) -> _Column:
    return _Column(name, pa.struct([pa.field(part.name, part.kind) for part in parts]), parts=parts)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values of records as a column; column by column, as a run may have a million samples."""
    if not pa.types.is_struct(kind) or not kind.num_fields:
        return pa.array(values, kind)
    fields = [kind.field(i) for i in range(kind.num_fields)]
    parts = [_array([_part(value, field.name) for value in values], field.type) for field in fields]
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(parts, fields=fields, mask=missing)


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None if value is None else getattr(value, name)


# ---------------------------------------------------------------- reading lines


def _read_strictly(content: bytes, bounds: Bounds, only: Sequence[_Column] = ()) -> pa.Table | None:
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
    """How many lines there are; 0 where any is no single object: arrow would also take two on a line, or one on two."""
    lines, start = 0, 0
    while start < len(content):
        end = content.find(b"\n", start)
        if end < 0 or content[start] != ord("{") or content[end - 1] != ord("}"):
            return 0
        lines, start = lines + 1, end + 1
    return lines


def _read_all(content: bytes) -> tuple[tuple[_Column, ...], pa.Table]:
    first = Sample.model_validate_json(content[: content.index(b"\n")])
    keys = {name: list(getattr(first, name)) for name in KEYED}
    columns = _sample_columns(keys)
    try:
        return columns, _read_json(content, columns)
    except pa.ArrowInvalid:
        columns = _sample_columns(_all_keys(content, keys))
        return columns, _read_json(content, columns)


def _read_json(content: bytes, columns: Sequence[_Column], unexpected: str = "error") -> pa.Table:
    return pj.read_json(
        pa.BufferReader(content),
        pj.ReadOptions(use_threads=False, block_size=len(content) + 1),
        pj.ParseOptions(explicit_schema=_schema(columns), unexpected_field_behavior=unexpected),
    )


def _all_keys(content: bytes, keys: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Channels and metrics of all lines, where a later one has others than the first. Raises where none has."""
    inferred = _read_json(content, _sample_columns(keys), "infer").schema
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

    def table(self, table: pa.Table, columns: Sequence[_Column]) -> pa.Table:
        """The table, with defaults where a field is left out. Raises _OutOfTheOrdinaryError."""
        arrays = [self._column(table[column.name].combine_chunks(), column) for column in columns]
        for name in self._doubtful:
            if self._content.count(f"{json.dumps(name, ensure_ascii=False)}:".encode()) != self._named[name]:
                raise _OutOfTheOrdinaryError
        return pa.table(arrays, table.schema)

    def _column(self, values: pa.Array, column: _Column) -> pa.Array:
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

    def _struct(self, values: pa.Array, present: pa.Array, column: _Column) -> pa.Array:
        read = present.flatten()
        parts = [self._column(part, inner) for part, inner in zip(read, column.parts, strict=True)]
        if not _fit(dict(zip((part.name for part in column.parts), parts, strict=True))):
            raise _OutOfTheOrdinaryError
        if all(after is before for after, before in zip(parts, read, strict=True)):
            return values
        completed = pa.StructArray.from_arrays(parts, fields=list(column.kind))
        is_there = _valid(values)
        return completed.take(pa.array(np.cumsum(is_there) - 1, mask=~is_there))

    def _possible(self, values: pa.Array, column: _Column) -> bool:
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


def _filled(values: pa.Array, column: _Column) -> pa.Array:
    """With the default for what is left out."""
    if not pa.types.is_struct(column.kind):
        return pc.fill_null(values, pa.scalar(column.default, column.kind))
    if not column.parts:
        return _array([column.default] * len(values), column.kind)
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


def _read_line(number: int, line: bytes, bounds: Bounds) -> Sample:
    try:
        sample = Sample.model_validate_json(line)
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


# ---------------------------------------------------------------- arrow to numpy


def _numbered(values: pa.Array) -> Ints:
    """Equal values as equal numbers, from 0 in order of appearance."""
    return _ints(values.dictionary_encode().indices)


def _kinds(windows: pa.Array) -> Ints:
    return _ints(pc.index_in(windows.field("kind"), pa.array(KINDS)))


def _texts(values: pa.Array) -> list[str]:
    texts: list[str] = values.to_pylist()
    return texts


def _ints(values: pa.Array) -> Ints:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.int64)


def _floats(values: pa.Array) -> Floats:
    """NaN where missing."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _bools(values: pa.Array) -> Bools:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


def _valid(values: pa.Array) -> Bools:
    return _bools(values.is_valid())


def _spans(windows: pa.Array) -> Spans:
    session, start_ns, end_ns = (_ints(windows.field(name)) for name in ("session", "start_ns", "end_ns"))
    return Spans(session, start_ns, end_ns)
