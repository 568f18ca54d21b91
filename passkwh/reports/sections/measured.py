"""How it was measured: host, meter, idle, what was run, the warnings that runs carry; and power over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from passkwh.analysis.frames import Run
from passkwh.analysis.tables import Cell
from passkwh.measures import MEASURES, kinds
from passkwh.records import ChannelInfo, ChannelTotal
from passkwh.reports.document.content import Block, Bullets, TableBlock, Text, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection, everywhere
from passkwh.reports.document.text import listed, sentence
from passkwh.reports.figures.power import power_over_time

QUANTITIES = {"energy_j": "energy counter (J)", "power_w": "power (W)", "power_1s_w": "power averaged over 1 s (W)"}
MOST_ROWS = 6
"""A longer table is closed on the screen until it is asked for."""

Columns = dict[str, tuple[str, Callable[[Run], Cell]]]
"""Heads of columns, each with its style and what stands in it of a run."""


def build(evidence: Evidence) -> Draft:
    """Tables of hosts, channels, idle powers and runs; then the runs' own warnings."""
    provenances = (
        "measured: read from a counter or sensor. estimated: computed from a model such as watts per core × CPU time. "
        "simulated: invented. Energy of a window is integrated from the trace of all readings; net energy is gross "
        "minus idle power × duration, with the model loaded. A reading that failed is missing, never 0."
    )
    blocks: list[Block | Drawing] = [
        _of_hosts("hosts", "Machines", HOST, evidence.runs),
        _channels(evidence.runs),
        Text(sentence=(provenances,), tone="soft"),
        _of_runs("energies", "Energy, time and tokens of each run, over all of its tasks", ENERGY, evidence),
        _idle(evidence),
        _models(evidence),
        _of_runs("runs", "What was run", RUN, evidence),
        _versions(evidence.runs),
        *_warnings(evidence),
    ]
    return Draft(tuple(blocks))


def _power(evidence: Evidence) -> Draft:
    provenance = kinds(evidence.provenance(label) for label in evidence.labels)
    each = "Each run" if evidence.by_run else "First run of each configuration"
    return Draft((power_over_time(evidence.timelines, provenance, each, _idle_w(evidence)),))


def _idle_w(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Idle power of each label's first run, by channel."""
    return {
        label: {
            total.channel: total.idle_before.mean_w
            for total in evidence.first_run(label).summary.channels
            if total.idle_before.mean_w is not None
        }
        for label in evidence.labels
    }


def _accelerators(run: Run) -> str:
    shown = [
        f"{g.name}" + (f", limit {g.power_limit_w:g} W" if g.power_limit_w else "")
        + (f", driver {g.driver}" if g.driver else "")
        for g in run.manifest.host.gpus
    ]  # fmt: skip
    return "; ".join(shown) or "none"


def _decoding(run: Run) -> str:
    spec = run.manifest.spec
    return "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}, top-p {spec.top_p:g}"


def _measure(name: str) -> tuple[str, Callable[[Run], Cell]]:
    measure = MEASURES[name]
    return "integer" if measure.name.endswith("tokens") else "number", lambda run: measure.value(run.summary)


HOST: Columns = {
    "CPU": ("text", lambda run: run.manifest.host.cpu),
    "cores": ("integer", lambda run: run.manifest.host.cores),
    "memory (GB)": ("number", lambda run: run.manifest.host.memory_bytes / 1e9),
    "accelerators": ("text", _accelerators),
    "system": ("text", lambda run: f"{run.manifest.host.os} {run.manifest.host.kernel}"),
    "Python": ("text", lambda run: run.manifest.host.python),
}
ENERGY: Columns = {
    "repeat": ("integer", lambda run: run.manifest.spec.repeat + 1),
    "gross (J)": _measure("gross_energy_j"),
    "net (J)": _measure("net_energy_j"),
    "generating (J)": _measure("generation_energy_j"),
    "scoring (J)": _measure("evaluation_energy_j"),
    "energy (kWh)": _measure("energy_kwh"),
    "generating (s)": _measure("generation_s"),
    "scoring (s)": _measure("evaluation_s"),
    "prompt tokens": _measure("prompt_tokens"),
    "generated tokens": _measure("completion_tokens"),
    "missing because": ("text", lambda run: run.summary.energy_reason),
}
RUN: Columns = {
    "repeat": ("integer", lambda run: run.manifest.spec.repeat + 1),
    "benchmark": ("text", lambda run: f"{run.manifest.benchmark.name} {run.manifest.benchmark.version}"),
    "data": ("text", lambda run: run.manifest.benchmark.source),
    "tasks": ("integer", lambda run: run.summary.tasks),
    "samples a task": ("integer", lambda run: run.manifest.spec.samples),
    "batch size": ("integer", lambda run: run.manifest.spec.batch_size),
    "in flight": ("integer", lambda run: run.manifest.spec.concurrency),
    "at most new tokens": ("integer", lambda run: run.manifest.spec.max_new_tokens),
    "decoding": ("text", _decoding),
    "seed": ("integer", lambda run: run.manifest.spec.seed),
    "exit": ("text", lambda run: run.manifest.spec.exit or "none"),
    "thinking": ("text", lambda run: run.manifest.spec.thinking),
    "sessions": ("integer", lambda run: len(run.manifest.sessions)),
    "started": ("text", lambda run: run.manifest.sessions[0].started_at if run.manifest.sessions else ""),
    "folder": ("text", lambda run: str(run.path)),
}


def _of_runs(name: str, title: str, columns: Columns, evidence: Evidence) -> TableBlock:
    """A row a run."""
    rows = [
        (label, *(value(run) for _, value in columns.values()))
        for label, run in zip(evidence.run_labels, evidence.runs, strict=True)
    ]
    heads = {"configuration": "text", **{head: style for head, (style, _) in columns.items()}}
    return table_of(name, title, heads, rows, folded=len(rows) > MOST_ROWS)


def _of_hosts(name: str, title: str, columns: Columns, runs: Sequence[Run]) -> TableBlock:
    rows = [(run.manifest.run_id, tuple(value(run) for _, value in columns.values())) for run in runs]
    heads = {"runs": "text", **{head: style for head, (style, _) in columns.items()}}
    return table_of(name, title, heads, _grouped(rows, len(runs)))


def _grouped(rows: Sequence[tuple[str, tuple[Cell, ...]]], everyone: int) -> Iterable[tuple[Cell, ...]]:
    """Equal rows as one, with the names of whom they are about."""
    names: dict[tuple[Cell, ...], list[str]] = {}
    for name, row in rows:
        names.setdefault(row, []).append(name)
    for row, of in names.items():
        yield ("all runs" if len(of) == everyone > 1 else listed(list(dict.fromkeys(of)), 4), *row)


def _channels(runs: Sequence[Run]) -> TableBlock:
    def row(run: Run, c: ChannelInfo) -> tuple[Cell, ...]:
        counted, every_s = "yes" if c.counted else "no", run.manifest.meter.interval_s
        return (
            c.name, c.provenance, c.source, QUANTITIES[c.quantity], every_s, counted, c.note or "",
        )  # fmt: skip

    rows = [(run.manifest.run_id, row(run, c)) for run in runs for c in run.manifest.meter.channels]
    heads = {
        "runs": "text", "channel": "text", "provenance": "text", "source": "text", "quantity": "text",
        "read every (s)": "number", "in the total": "text", "note": "text",
    }  # fmt: skip
    return table_of("channels", "Metered channels", heads, _grouped(rows, len(runs)))


def _idle(evidence: Evidence) -> TableBlock:
    def row(label: str, run: Run, total: ChannelTotal) -> tuple[Cell, ...]:
        before, after = total.idle_before, total.idle_after
        return (
            label, run.manifest.spec.repeat + 1, total.channel, before.mean_w, before.se_w, before.duration_s,
            after.mean_w, after.se_w, before.reason or after.reason,
        )  # fmt: skip

    labelled = zip(evidence.run_labels, evidence.runs, strict=True)
    rows = [row(label, run, total) for label, run in labelled for total in run.summary.channels]
    heads = {
        "configuration": "text", "repeat": "integer", "channel": "text", "before (W)": "number",
        "std. error (W)": "number", "over (s)": "number", "after (W)": "number", "its std. error (W)": "number",
        "missing because": "text",
    }  # fmt: skip
    title = "Idle power with the model loaded, before and after"
    return table_of("idle", title, heads, rows, folded=len(rows) > MOST_ROWS)


def _models(evidence: Evidence) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for label in evidence.labels:
        model = evidence.first_run(label).manifest.model
        details = ", ".join(f"{key} {value}" for key, value in model.quantization.items() if "sha256" not in key)
        rows.append(
            (label, model.checkpoint, model.revision[:19], model.engine, model.adapter, model.parameters, model.dtype,
             model.device, details or "none")
        )  # fmt: skip
    heads = {
        "configuration": "text", "checkpoint": "text", "revision": "text", "engine": "text", "adapter": "text",
        "parameters": "integer", "precision": "text", "device": "text", "quantization": "text",
    }  # fmt: skip
    return table_of("models", "Models", heads, rows, folded=len(rows) > MOST_ROWS)


def _versions(runs: Sequence[Run]) -> TableBlock:
    rows = [
        (run.manifest.run_id, (package, version)) for run in runs for package, version in run.manifest.versions.items()
    ]
    heads = {"runs": "text", "package": "text", "version": "text"}
    return table_of("versions", "Versions that shape results", heads, _grouped(rows, len(runs)), folded=True)


def _warnings(evidence: Evidence) -> list[Block]:
    labelled = zip(evidence.run_labels, evidence.runs, strict=True)
    warnings = [(label, (warning,)) for label, run in labelled for warning in run.summary.warnings]
    if not warnings:
        return [Text(sentence=("The runs carry no warnings of their own.",))]
    items = tuple(sentence(f"{whom}: {text}") for whom, text in _grouped(warnings, len(evidence.runs)))
    return [Text(sentence=("Warnings that the runs carry:",)), Bullets(items=items, tone="warning")]


POWER = FunctionSection(
    "power", "Power over time", "power of every channel over a run's own time", {"short": 30, **everywhere(75)}, _power
)
MEASURED = FunctionSection(
    "measured",
    "How it was measured",
    "hosts, channels, idle power, models, decoding, versions, warnings",
    {"short": 40, **everywhere(70)},
    build,
)
