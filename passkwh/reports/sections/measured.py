"""How it was measured: host, meter, idle, what was run, and the warnings that runs carry."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.analysis.frames import Run
from passkwh.analysis.tables import Cell
from passkwh.reports.document.content import Block, Bullets, Column, TableBlock, Text
from passkwh.reports.document.draft import Draft, Drawing
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import listed, sentence
from passkwh.reports.figures.power import power_over_time
from passkwh.units import joules_to_kwh

Rows = tuple[tuple[Cell, ...], ...]


def measured(evidence: Evidence) -> Draft:
    """Tables of hosts, channels, idle powers and runs; then the runs' own warnings."""
    runs = evidence.runs
    blocks: list[Block | Drawing] = [
        _hosts(runs),
        _channels(runs),
        Text(
            sentence=sentence(
                "measured: read from a counter or sensor. estimated: computed from a model such as watts per core × "
                "CPU time. simulated: invented. Energy of a window is integrated from the trace of all readings; net "
                "energy is gross minus idle power × duration, with the model loaded. A reading that failed is missing, "
                "never 0."
            ),
            tone="soft",
        ),
        _energies(evidence),
        _idle(evidence),
        power_over_time(evidence),
        _models(evidence),
        _decoding(evidence),
        _versions(runs),
        *_warnings(evidence),
    ]
    return Draft("measured", "How it was measured", tuple(blocks))


def _grouped(rows: Sequence[tuple[str, tuple[Cell, ...]]]) -> list[tuple[list[str], tuple[Cell, ...]]]:
    """Equal rows as one, with the names of whom they are about."""
    found: dict[tuple[Cell, ...], list[str]] = {}
    for name, row in rows:
        found.setdefault(row, []).append(name)
    return [(names, row) for row, names in found.items()]


def _whom(names: list[str], everyone: int) -> str:
    distinct = list(dict.fromkeys(names))
    return "all runs" if len(names) == everyone and everyone > 1 else listed(distinct, 4)


def _hosts(runs: Sequence[Run]) -> TableBlock:
    rows = []
    for run in runs:
        host = run.manifest.host
        gpus = "; ".join(
            f"{g.name}" + (f", limit {g.power_limit_w:g} W" if g.power_limit_w else "")
            + (f", driver {g.driver}" if g.driver else "")
            for g in host.gpus
        )  # fmt: skip
        row = (host.cpu, host.cores, host.memory_bytes / 1e9, gpus or "none", f"{host.os} {host.kernel}", host.python)
        rows.append((run.manifest.run_id, row))
    return TableBlock(
        name="hosts",
        title="Machines",
        columns=(
            Column(name="runs", style="text"), Column(name="CPU", style="text"), Column(name="cores", style="integer"),
            Column(name="memory (GB)"), Column(name="accelerators", style="text"), Column(name="system", style="text"),
            Column(name="Python", style="text"),
        ),
        rows=tuple((_whom(names, len(runs)), *row) for names, row in _grouped(rows)),
    )  # fmt: skip


def _channels(runs: Sequence[Run]) -> TableBlock:
    quantities = {"energy_j": "energy counter (J)", "power_w": "power (W)", "power_1s_w": "power averaged over 1 s (W)"}
    rows = [
        (
            run.manifest.run_id,
            (c.name, c.provenance, c.source, quantities[c.quantity], run.manifest.meter.interval_s,
             "yes" if c.counted else "no", c.note or ""),
        )
        for run in runs
        for c in run.manifest.meter.channels
    ]  # fmt: skip
    return TableBlock(
        name="channels",
        title="Metered channels",
        columns=(
            Column(name="runs", style="text"), Column(name="channel", style="text"),
            Column(name="provenance", style="text"), Column(name="source", style="text"),
            Column(name="quantity", style="text"), Column(name="read every (s)"),
            Column(name="in the total", style="text"),
            Column(name="note", style="text"),
        ),
        rows=tuple((_whom(names, len(runs)), *row) for names, row in _grouped(rows)),
    )  # fmt: skip


def _energies(evidence: Evidence) -> TableBlock:
    rows = []
    for position, run in enumerate(evidence.runs):
        s = run.summary
        rows.append(
            (
                evidence.label_of(position), run.manifest.spec.repeat + 1, s.gross_energy_j, s.net_energy_j,
                s.generation_energy_j, s.evaluation_energy_j,
                None if s.gross_energy_j is None else joules_to_kwh(s.gross_energy_j), s.generation_s, s.evaluation_s,
                s.prompt_tokens, s.completion_tokens, s.energy_reason,
            )
        )  # fmt: skip
    return TableBlock(
        name="energies",
        title="Energy, time and tokens of each run, over all of its tasks",
        folded=len(evidence.runs) > 6,
        columns=(
            Column(name="configuration", style="text"), Column(name="repeat", style="integer"),
            Column(name="gross (J)"), Column(name="net (J)"), Column(name="generating (J)"), Column(name="scoring (J)"),
            Column(name="gross (kWh)"), Column(name="generating (s)"), Column(name="scoring (s)"),
            Column(name="prompt tokens", style="integer"), Column(name="generated tokens", style="integer"),
            Column(name="missing because", style="text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _idle(evidence: Evidence) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for position, run in enumerate(evidence.runs):
        for total in run.summary.channels:
            before, after = total.idle_before, total.idle_after
            rows.append(
                (
                    evidence.label_of(position), run.manifest.spec.repeat + 1, total.channel, before.mean_w,
                    before.se_w, before.duration_s, after.mean_w, after.se_w, before.reason or after.reason,
                )
            )  # fmt: skip
    return TableBlock(
        name="idle",
        title="Idle power with the model loaded, before and after",
        folded=len(rows) > 6,
        columns=(
            Column(name="configuration", style="text"), Column(name="repeat", style="integer"),
            Column(name="channel", style="text"), Column(name="before (W)"), Column(name="std. error (W)"),
            Column(name="over (s)"), Column(name="after (W)"), Column(name="its std. error (W)"),
            Column(name="missing because", style="text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _models(evidence: Evidence) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for configuration in evidence.comparison.configurations:
        model = evidence.runs[configuration.runs[0]].manifest.model
        details = ", ".join(f"{key} {value}" for key, value in model.quantization.items() if "sha256" not in key)
        rows.append(
            (configuration.label, model.checkpoint, model.revision[:19], model.adapter, model.parameters, model.dtype,
             model.device, details or "none")
        )  # fmt: skip
    return TableBlock(
        name="models",
        title="Models",
        folded=len(rows) > 6,
        columns=(
            Column(name="configuration", style="text"), Column(name="checkpoint", style="text"),
            Column(name="revision", style="text"), Column(name="adapter", style="text"),
            Column(name="parameters", style="integer"), Column(name="precision", style="text"),
            Column(name="device", style="text"), Column(name="quantization", style="text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _decoding(evidence: Evidence) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for position, run in enumerate(evidence.runs):
        spec, benchmark = run.manifest.spec, run.manifest.benchmark
        how = "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}, top-p {spec.top_p:g}"
        started = run.manifest.sessions[0].started_at if run.manifest.sessions else ""
        rows.append(
            (evidence.label_of(position), spec.repeat + 1, f"{benchmark.name} {benchmark.version}", benchmark.source,
             run.summary.tasks, spec.samples, spec.batch_size, spec.max_new_tokens, how, spec.seed, spec.exit or "none",
             len(run.manifest.sessions), started, str(run.path))
        )  # fmt: skip
    return TableBlock(
        name="runs",
        title="What was run",
        folded=len(rows) > 6,
        columns=(
            Column(name="configuration", style="text"), Column(name="repeat", style="integer"),
            Column(name="benchmark", style="text"), Column(name="data", style="text"),
            Column(name="tasks", style="integer"), Column(name="samples a task", style="integer"),
            Column(name="batch size", style="integer"), Column(name="at most new tokens", style="integer"),
            Column(name="decoding", style="text"), Column(name="seed", style="integer"),
            Column(name="exit", style="text"),
            Column(name="sessions", style="integer"), Column(name="started", style="text"),
            Column(name="folder", style="text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _versions(runs: Sequence[Run]) -> TableBlock:
    rows = [
        (run.manifest.run_id, (package, version)) for run in runs for package, version in run.manifest.versions.items()
    ]
    return TableBlock(
        name="versions",
        title="Versions that shape results",
        folded=True,
        columns=(
            Column(name="runs", style="text"), Column(name="package", style="text"),
            Column(name="version", style="text"),
        ),
        rows=tuple((_whom(names, len(runs)), *row) for names, row in _grouped(rows)),
    )  # fmt: skip


def _warnings(evidence: Evidence) -> list[Block]:
    runs = evidence.runs
    said = [(evidence.label_of(i), (warning,)) for i, run in enumerate(runs) for warning in run.summary.warnings]
    if not said:
        return [Text(sentence=("The runs carry no warnings of their own.",))]
    return [
        Text(sentence=("Warnings that the runs carry:",)),
        Bullets(
            items=tuple(sentence(f"{_whom(names, len(runs))}: {row[0]}") for names, row in _grouped(said)),
            tone="warning",
        ),
    ]
