"""Samples straight from their lines, where every line is as it should be.

A record of every sample takes longer to make than all that is then done with it. So a strict reader comes first, which
takes only what the records would take, and gives up, saying nothing, on anything else: then each line is read as a
record, which says what is wrong and where, or that the line is good after all (an optional field left out, say).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.series import Bools, Floats, Ints
from passkwh.harness.runs.columns import SCORED, Columns
from passkwh.records import Sample
from passkwh.reports.leaderboard.samples import KINDS, NO_BATCH, PARTS, Samples, Stated


def line_ends(content: bytes) -> Ints:
    """Positions of the line feeds."""
    return np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord("\n"))


def read_strictly(content: bytes, ends: Ints, longest: int, largest: float) -> Samples | None:
    """Samples from JSON lines that end at ``ends``, or None where any of them is out of the ordinary in any way.

    ``longest`` bounds texts other than completions (characters), ``largest`` all numbers.
    """
    letters = np.frombuffer(content, dtype=np.uint8)
    # One object a line: arrow would also take two on a line, or one on two.
    if not len(ends) or ends[-1] != len(content) - 1 or ends[0] == 0 or letters[0] != ord("{"):
        return None
    if not (letters[ends - 1] == ord("}")).all() or not (letters[ends[:-1] + 1] == ord("{")).all():
        return None
    try:
        first = Sample.model_validate_json(content[: ends[0]])
        schema = _schema(first)
        table = pj.read_json(
            pa.BufferReader(content),
            pj.ReadOptions(use_threads=False, block_size=len(content) + 1),
            pj.ParseOptions(explicit_schema=_nullable(schema), unexpected_field_behavior="error"),
        )
        table.validate(full=True)
    except (ValueError, RecursionError, OverflowError, pa.ArrowException):
        return None
    if len(table) != len(ends) or table.column_names != schema.names:
        return None
    columns = {field.name: table[field.name].combine_chunks() for field in schema}
    if not all(_sound(columns[field.name], field, longest, largest) for field in schema):
        return None
    return _samples(pa.table(columns), first) if _possible(columns) else None


def _schema(first: Sample) -> pa.Schema:
    """Columns of samples that state what the first one states; ``nullable`` where a record may have None or nothing."""
    count, number, text = pa.int64(), pa.float64(), pa.string()

    def field(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Field:
        return pa.field(name, kind, nullable=nullable)

    window = pa.struct(
        [
            field("kind", text), field("session", count), field("start_ns", count), field("end_ns", count),
            field("batch_id", count, nullable=True),
        ]
    )  # fmt: skip
    # An energy that is missing has a reason, and a field that is left out has none: records tell these apart.
    energy = pa.struct(
        [field("gross_j", number), field("net_j", number), field("se_j", number, True), field("reason", text, True)]
    )
    verdict = pa.struct([field("status", text), field("detail", text), field("suspect", pa.list_(field("item", text)))])

    def each(names: Sequence[str], kind: pa.DataType) -> pa.DataType:
        return pa.struct([field(name, kind) for name in names])

    return pa.schema(
        [
            *(field(name, count) for name in ("schema_version", "sample_index", "order", "batch_id", "batch_size")),
            *(field(name, count) for name in ("seed", "prompt_tokens", "completion_tokens")),
            *(field(name, text) for name in ("key", "task_id", "text", "finish_reason")),
            field("latency_s", number),
            field("ttft_s", number, nullable=True),
            field("exit_layers", pa.list_(field("item", count)), nullable=True),
            field("generation", window),
            field("evaluation", window, nullable=True),
            field("evaluation_cpu_s", number, nullable=True),
            *(field(part, each([*getattr(first, part)], energy)) for part in PARTS),
            field("verdict", verdict, nullable=True),
            field("scores", each([*first.scores], number)),
        ]
    )


def _nullable(schema: pa.Schema) -> pa.Schema:
    """As the reader wants it, which takes what is missing for null; ``_sound`` looks at that afterwards."""

    def plain(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(kind.field(i).name, plain(kind.field(i).type)) for i in range(kind.num_fields)])
        return pa.list_(plain(kind.value_type)) if pa.types.is_list(kind) else kind

    return pa.schema([pa.field(field.name, plain(field.type)) for field in schema])


def _sound(values: pa.Array, field: pa.Field, longest: int, largest: float) -> bool:
    """Whether nothing is missing that must be there, and every text and number has a possible size."""
    if values.null_count:
        if not field.nullable:
            return False
        values = values.drop_null()
    kind = field.type
    if pa.types.is_struct(kind):
        parts = zip(values.flatten(), [kind.field(i) for i in range(kind.num_fields)], strict=True)
        return all(_sound(part, inner, longest, largest) for part, inner in parts)
    if pa.types.is_list(kind):
        return _sound(values.flatten(), kind.value_field, longest, largest)
    if not len(values):
        return True
    if pa.types.is_string(kind):
        return field.name == "text" or bool(pc.max(pc.binary_length(values)).as_py() <= longest)
    numbers = values.to_numpy(zero_copy_only=False)
    return bool(np.isfinite(numbers).all() and abs(float(numbers.max())) <= largest >= abs(float(numbers.min())))


STATUSES = {*SCORED.tolist(), "not_evaluated"}
LEAST = {
    "sample_index": 0, "order": 0, "batch_size": 1, "prompt_tokens": 0, "completion_tokens": 0, "latency_s": 0,
    "ttft_s": 0, "evaluation_cpu_s": 0,
}  # fmt: skip


def _possible(columns: dict[str, pa.Array]) -> bool:
    """What records check of values: words of a list, nothing below its least, windows that end after they start."""

    def at_least(values: pa.Array, least: int) -> bool:
        found = pc.min(values).as_py()
        return found is None or found >= least

    def among(values: pa.Array, words: set[str]) -> bool:
        return {*values.drop_null().unique().to_pylist()} <= words

    windows = [columns["generation"], columns["evaluation"].drop_null()]
    energies = [energy for part in PARTS for energy in columns[part].flatten()]
    return (
        all(at_least(columns[name], least) for name, least in LEAST.items())
        and among(columns["finish_reason"], {"stop", "length"})
        and among(columns["verdict"].drop_null().field("status"), STATUSES)
        and all(among(window.field("kind"), {*KINDS}) for window in windows)
        and all(at_least(window.field("session"), 0) for window in windows)
        and all(at_least(pc.subtract(window.field("end_ns"), window.field("start_ns")), 0) for window in windows)
        and all(at_least(energy.field("se_j"), 0) for energy in energies)
    )


def _samples(table: pa.Table, first: Sample) -> Samples:
    order = np.argsort(table["order"].to_numpy(), kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(pa.array(order))
    column = {name: table[name].combine_chunks() for name in table.column_names if name != "text"}
    scored = np.flatnonzero(_valid(column["evaluation"]))
    evaluation = column["evaluation"].drop_null()
    verdict = column["verdict"]
    words = verdict.flatten()  # null where there is no verdict
    status = words[verdict.type.get_field_index("status")].to_pylist()
    detail = [text or "" for text in words[verdict.type.get_field_index("detail")].to_pylist()]
    suspect = words[verdict.type.get_field_index("suspect")]
    names = np.array([text or "" for text in status], dtype=np.str_)
    doubted = (names == "pass") & (_ints(pc.fill_null(pc.list_value_length(suspect), 0)) > 0)
    silent = np.flatnonzero(names == "not_evaluated")
    tasks = column["task_id"].to_pylist()
    generation = column["generation"]
    return Samples(
        columns=Columns(
            task=_numbered(column["task_id"]),
            batch=_numbered(column["batch_id"]),
            prompt_tokens=_ints(column["prompt_tokens"]),
            completion_tokens=_ints(column["completion_tokens"]),
            ttft_s=_floats(column["ttft_s"]),
            generation=_spans(generation),
            scored=scored,
            evaluation=_spans(evaluation),
            evaluation_cpu_s=np.nan_to_num(_floats(column["evaluation_cpu_s"])[scored]),
            judged=names != "",
            evaluated=np.isin(names, SCORED),
            passed=names == "pass",
            doubted=doubted,
            exit_layers=_ints(column["exit_layers"].flatten()),
            first_silent=detail[silent[0]] if len(silent) else "",
            first_doubt=suspect[int(np.flatnonzero(doubted)[0])][0].as_py() if doubted.any() else "",
        ),
        keys=column["key"].to_pylist(),
        tasks=tasks,
        order=_ints(column["order"]),
        sample_index=_ints(column["sample_index"]),
        batch_id=_ints(column["batch_id"]),
        batch_size=_ints(column["batch_size"]),
        latency_s=_floats(column["latency_s"]),
        status=status,
        detail=detail,
        generation_kind=_kinds(generation),
        generation_batch=_ints(pc.fill_null(generation.field("batch_id"), NO_BATCH)),
        evaluation_kind=_kinds(evaluation),
        energies={part: {name: _energies(column[part].field(name)) for name in getattr(first, part)} for part in PARTS},
        channels={part: np.full(len(tasks), len(getattr(first, part))) for part in PARTS},
    )


def _numbered(values: pa.Array) -> Ints:
    """Equal values as equal numbers, from 0 in order of appearance."""
    return _ints(values.dictionary_encode().indices)


def _kinds(windows: pa.Array) -> Ints:
    return _ints(pc.index_in(windows.field("kind"), pa.array(KINDS)))


def _ints(values: pa.Array) -> Ints:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.int64)


def _floats(values: pa.Array) -> Floats:
    """NaN where missing."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _valid(values: pa.Array) -> Bools:
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _spans(windows: pa.Array) -> Spans:
    session, start_ns, end_ns = (_ints(windows.field(name)) for name in ("session", "start_ns", "end_ns"))
    return Spans(session, start_ns, end_ns)


def _energies(values: pa.Array) -> Stated:
    gross_j, net_j = (_floats(values.field(name)) for name in ("gross_j", "net_j"))
    return Stated(np.ones(len(gross_j), dtype=np.bool_), gross_j, net_j)
