"""What the board holds: a row a configuration, each figure with its interval, each energy with its provenance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from passkwh.analysis.conventions import OURS
from passkwh.analysis.frames import Run
from passkwh.analysis.life_cycle import making, tasks_to_pay_back
from passkwh.analysis.pooling import checked
from passkwh.analysis.results import Interval
from passkwh.harness.runs.labels import describe, identity, traits
from passkwh.harness.runs.labels import short_model as last_part
from passkwh.measures import Measure, measure, metric
from passkwh.records import Manifest, Record, Spec, content_hash
from passkwh.reports.leaderboard.findings import Line
from passkwh.units import kwh_to_joules

OF_REQUESTS = ("steady_joules_per_token", "steady_tokens_per_s", "ttft_p90_s", "tpot_p90_s", "latency_p90_s")
"""What requests in flight are judged by."""
MEASURES: dict[str, Measure] = {
    one.name: one
    for one in (
        measure("pass_at_1"), replace(metric("codebleu"), label="CodeBLEU"),
        replace(metric("exact_match"), label="exact match"),
        *map(measure, ("energy_kwh", "pass_at_kwh", "solved_per_kwh", "joules_per_token", "tokens_per_s")),
        measure("reasoning_share"),
        *map(measure, OF_REQUESTS),
    )
}  # fmt: skip
"""Measures of a row, in order. Accuracy is the first of the first three that a row has."""
ACCURACY = ("pass_at_1", "codebleu", "exact_match")
OF_RUNS = ("codebleu", "exact_match", "reasoning_share", *OF_REQUESTS)
"""Figures of whole runs, which are not resampled."""

RowProvenance = Literal["measured", "estimated", "simulated", "mixed", "published"]


class Cell(Record):
    """One figure and its interval; ``note`` says what the interval is where it is not a 95 % bootstrap interval."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str | None = None


class Row(Record):
    """One configuration on the board."""

    id: Annotated[
        str, Field(description="hash of the configuration's identity: name of its page, for as long as it runs")
    ]
    content: Annotated[str, Field(description="hash of the packs that it is made of; empty for a published row")] = ""
    model: Line
    family: Line
    parameters: Annotated[int | None, Field(description="number of weights, where known")]
    tuning: Annotated[Line, Field(description="base, instruct or fine-tuned")]
    quant: Line
    exit: Annotated[Line, Field(description="early-exit rule; full depth when empty")] = ""
    thinking: Annotated[Line, Field(description="what --thinking said; left to the template when empty")] = ""
    thinking_mode: Annotated[
        Line, Field(description="none (a model without a thinking phase), auto, on, off, an effort, or tokens")
    ] = ""
    engine: Annotated[Line, Field(description="the program that computed; empty where a source does not say")] = ""
    batch_size: int | None
    concurrency: Annotated[int, Field(ge=1, description="requests that were kept in flight")] = 1
    hardware: Line
    benchmark: Line
    provenance: RowProvenance
    source: Annotated[Line, Field(description="where a published row is printed; the run ids of a measured one")]
    place: Annotated[Line, Field(description="where in the source, or what it adds")] = ""
    tasks: int | None
    runs: Annotated[int, Field(ge=0, description="repeats pooled; 0 for a published row")]
    latest: Annotated[
        str, Field(description="when the latest of its runs began, in UTC; empty for a published row")
    ] = ""
    measures: dict[str, Cell]
    weights: Annotated[Line, Field(description="which weights ran: quantization and revision; empty where unknown")] = (
        ""
    )
    full_depth: Annotated[bool, Field(description="every token goes through all layers")] = True
    saved: Annotated[float | None, Field(description="share of energy saved against saved_against")] = None
    saved_against: Annotated[Line, Field(description="the baseline of saved; empty without one")] = ""
    saved_same_weights: Annotated[
        float | None, Field(description="share saved against the same weights (fine-tuned, quantized) at full depth")
    ] = None
    making_j: Annotated[float | None, Field(description="energy of making it, once, where known")] = None
    making_provenance: Annotated[Line, Field(description="of making_j: measured, estimated, ...; empty without")] = ""
    solved_to_pay_back: Annotated[
        float | None, Field(description="solved tasks until making_j is paid back against saved_against")
    ] = None
    tasks_key: Annotated[str, Field(description="equal where benchmark, tasks and decoding are the same")]
    hardware_key: Annotated[str, Field(description="equal where machine and metered channels are the same")]
    ranks: Annotated[
        tuple[int, int] | None, Field(description="best and worst rank by pass@kWh that the uncertainty of all allows")
    ] = None
    page: bool = True
    warnings: tuple[Line, ...] = ()

    @property
    def label(self) -> str:
        """The configuration in a few words."""
        return describe(
            self.model, tuning=self.tuning, quant=self.quant, exit=self.exit, thinking=self.thinking,
            batch_size=self.batch_size, concurrency=self.concurrency,
        )  # fmt: skip


BENCHMARK_FIELDS = (
    "benchmark.name", "benchmark.version", "benchmark.options", "spec.samples", "spec.max_new_tokens",
    "spec.temperature", "spec.top_p",
)  # fmt: skip
HARDWARE_FIELDS = ("host.cpu", "host.gpus", "meter.channels")


_DEFAULTS = {name: field.get_default(call_default_factory=True) for name, field in Spec.model_fields.items()}


def keys(run: Run) -> tuple[str, str]:
    """Hashes of what must agree for two runs to be ranked together: the tasks and decoding, and the machine."""
    fields = checked(run)
    assert set(fields) == {*BENCHMARK_FIELDS, *HARDWARE_FIELDS}, "a field was added: say whether it is of the machine"
    tasks = [fields[name] for name in BENCHMARK_FIELDS]
    return (
        content_hash(*tasks, run.manifest.benchmark.sha256)[:16],
        content_hash(*[fields[name] for name in HARDWARE_FIELDS])[:16],
    )


def configuration_key(run: Run) -> str:
    """Equal for runs that are repeats of one row: same configuration, tasks, machine and software."""
    return content_hash(identity(run.manifest), *keys(run), run.manifest.versions)


def address(run: Run) -> str:
    """What the row of a run is known by in addresses: 16 hexadecimal digits, made of the configuration alone.

    It stays the same when repeats of the run, or other packs, come or go, and when later versions have more to say of a
    run: what was asked for counts only where it is not the default. A board by another convention of energy says other
    things of the run, and has another address for it.
    """
    manifest = run.manifest
    own = {name: value for name, value in traits(manifest).items() if value != _DEFAULTS.get(name, ...)}
    by = [] if run.convention == OURS else [run.convention.name]
    model = manifest.model
    return content_hash("row", model.name, model.revision, own, *keys(run), manifest.versions, *by)[:16]


def started(run: Run) -> datetime:
    """When a run began, in UTC; the first of January 1970 where it does not say."""
    try:
        time = datetime.fromisoformat(run.manifest.sessions[0].started_at)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (IndexError, ValueError, OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def row(
    runs: Sequence[Run], estimates: Iterable[Interval], row_id: str, content: str, warnings: Iterable[str] = ()
) -> Row:
    """The row of one configuration's runs from the intervals of its measures; ``content`` is a hash of its packs."""
    first = runs[0]
    manifest = first.manifest
    tasks_key, hardware_key = keys(first)
    made = making(manifest.model)
    cells = {
        one.measure: Cell(value=one.estimate, low=one.low, high=one.high, note=one.note)
        for one in estimates
        if one.estimate is not None and one.measure in MEASURES
    }
    for name in OF_RUNS:
        values = [value for run in runs if (value := MEASURES[name].value(run.summary)) is not None]
        if len(values) == len(runs):
            cells[name] = Cell(value=sum(values) / len(values), note="no interval: a figure of whole runs")
    return Row(
        id=row_id,
        content=content,
        model=short_model(manifest.model.name),
        family=family(manifest.model.name),
        parameters=manifest.model.parameters or None,
        tuning="instruct" if manifest.model.chat else "base",
        quant=manifest.model.quant,
        exit=manifest.spec.exit or "",
        thinking="" if manifest.spec.thinking == "auto" else manifest.spec.thinking,
        thinking_mode=thinking_mode(manifest),
        engine=manifest.model.engine,
        weights=f"{manifest.model.quant} {manifest.model.revision[:100]}",
        full_depth=_at_full_depth(manifest),
        batch_size=manifest.spec.batch_size,
        concurrency=manifest.spec.concurrency,
        hardware=hardware(manifest),
        benchmark=benchmark(manifest),
        provenance=first.summary.provenance,
        source=", ".join(run.manifest.run_id[:80] for run in runs),
        tasks=manifest.benchmark.tasks,
        runs=len(runs),
        latest=f"{max(started(run) for run in runs):%Y-%m-%dT%H:%M:%SZ}",
        measures={name: cells[name] for name in MEASURES if name in cells},
        making_j=None if made is None else made.energy_j,
        making_provenance="" if made is None else made.provenance,
        tasks_key=tasks_key,
        hardware_key=hardware_key,
        warnings=tuple(warnings),
    )


def thinking_mode(manifest: Manifest) -> str:
    """How a run thought: ``none`` where the model has no phase for it, else what --thinking said."""
    asked = manifest.spec.thinking
    return "none" if manifest.model.reasoning is None and asked == "auto" else asked


def _at_full_depth(manifest: Manifest) -> bool:
    """No early exit, or a fixed one at the last layer."""
    rule = (manifest.spec.exit or "").partition(",")[0]
    return not rule or rule == f"fixed:{manifest.model.early_exit.get('layers')}"


def with_savings(rows: Sequence[Row], baseline: str = "the unmodified model at full depth") -> list[Row]:
    """Rows with the energy saved against the same model on the same tasks and machine, unquantized, without a rule
    (called ``baseline``); and, of those that leave early, against the same weights at full depth."""

    def setting(one: Row) -> tuple[object, ...]:
        batch = (one.batch_size, one.concurrency)
        return one.model, one.tuning, one.thinking, batch, one.tasks_key, one.hardware_key, one.provenance

    plain: dict[tuple[object, ...], Row] = {}
    tuned: dict[tuple[object, ...], float] = {}
    for one in rows:
        if "energy_kwh" in one.measures:
            if one.quant == "none" and not one.exit:
                plain.setdefault(setting(one), one)
            if one.full_depth and one.weights:
                tuned.setdefault((*setting(one), one.weights), one.measures["energy_kwh"].value)

    def saved(one: Row, reference_kwh: float | None) -> float | None:
        return 1.0 - one.measures["energy_kwh"].value / reference_kwh if reference_kwh else None

    result = []
    for one in rows:
        if (one.quant != "none" or one.exit) and "energy_kwh" in one.measures:
            base = plain.get(setting(one))
            share = saved(one, None if base is None else base.measures["energy_kwh"].value)
            own = None if one.full_depth else saved(one, tuned.get((*setting(one), one.weights)))
            against = "" if share is None else baseline
            paid = None if base is None else _solved_to_pay_back(one, base)
            one = one.model_copy(
                update={
                    "saved": share, "saved_against": against, "saved_same_weights": own, "solved_to_pay_back": paid,
                }
            )  # fmt: skip
        result.append(one)
    return result


def _solved_to_pay_back(one: Row, base: Row) -> float | None:
    """None where what making it drew is not known, nothing is solved, or a solved task costs no less than before."""
    per_kwh = [row.measures["solved_per_kwh"].value for row in (one, base) if "solved_per_kwh" in row.measures]
    if one.making_j is None or len(per_kwh) < 2 or not all(per_kwh):
        return None
    own_j, other_j = (kwh_to_joules(1 / value) for value in per_kwh)
    return tasks_to_pay_back(one.making_j, own_j, other_j)


def hardware(manifest: Manifest) -> str:
    """The machine in a few words: its accelerators, else its processor, and what of it was metered."""
    names = [gpu.name + (f" ({gpu.power_limit_w:.0f} W)" if gpu.power_limit_w else "") for gpu in manifest.host.gpus]
    counted = {name: names.count(name) for name in dict.fromkeys(names)}
    machine = ", ".join(name if n == 1 else f"{n} × {name}" for name, n in counted.items())
    machine = machine or f"{manifest.host.cpu}, {manifest.host.cores} cores"
    kinds = sorted({c.name.split(":")[0].upper() for c in manifest.meter.channels if c.counted})
    return f"{machine[:120]}; metered: {', '.join(kinds)[:60] or 'nothing'}"


def benchmark(manifest: Manifest) -> str:
    """The tasks and the decoding in a few words."""
    info, spec = manifest.benchmark, manifest.spec
    options = [str(info.options[key]) for key in ("style", "subset", "task") if info.options.get(key)]
    decoding = "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}"
    several = f", {spec.samples} samples each" if spec.samples > 1 else ""
    name = " ".join([info.name, info.version, *options])
    return f"{name[:100]}: {info.tasks:,} tasks{several}, {decoding}, at most {spec.max_new_tokens} tokens"


def short_model(name: str) -> str:
    """The last part of a hub id or path."""
    return last_part(name)[:100] or "model"


def family(name: str) -> str:
    """A model's name up to its size: Qwen2.5 of Qwen/Qwen2.5-7B-Instruct."""
    short = short_model(name)
    return re.split(r"[-_ ]?\d+(?:\.\d+)?[bBmM](?![a-zA-Z])", short)[0].rstrip("-_ ") or short


def size(name: str) -> int | None:
    """Number of weights that a name states, as 7B."""
    stated = re.search(r"(\d+(?:\.\d+)?)([bBmM])(?![a-zA-Z])", name)
    return round(float(stated[1]) * (1e9 if stated[2] in "bB" else 1e6)) if stated else None
