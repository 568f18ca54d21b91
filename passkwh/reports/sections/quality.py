"""Metrics of benchmarks without verdicts, beside energy: what GREEN-CODE's figures 8-11 show."""

from __future__ import annotations

from passkwh.analysis.tables import Cell
from passkwh.reports.document.content import Block, Column, TableBlock
from passkwh.reports.document.evidence import Evidence


def metric_names(evidence: Evidence) -> list[str]:
    """The corpus-level metrics that any run has, in order of first appearance."""
    return list(dict.fromkeys(name for run in evidence.runs for name in run.summary.metrics))


def quality(evidence: Evidence) -> list[Block]:
    """The benchmark's own metrics of each run, and the same per kWh; nothing where there are none."""
    names = metric_names(evidence)
    if not names:
        return []
    per_kwh = list(dict.fromkeys(name for run in evidence.runs for name in run.summary.metrics_per_kwh))
    return [
        _table(evidence, "metrics", "The benchmark's own metrics", names, False),
        *([_table(evidence, "metrics_per_kwh", "Metrics per kWh: more is better", per_kwh, True)] if per_kwh else []),
    ]


def _table(evidence: Evidence, name: str, title: str, metrics: list[str], per_kwh: bool) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for position, run in enumerate(evidence.runs):
        values = run.summary.metrics_per_kwh if per_kwh else run.summary.metrics
        rows.append((evidence.label_of(position), run.manifest.spec.repeat + 1, *(values.get(m) for m in metrics)))
    return TableBlock(
        name=name,
        title=title,
        note="Of each whole run: these metrics are of the corpus, are not resampled, and so have no intervals here.",
        columns=(
            Column(name="configuration", style="text"), Column(name="repeat", style="integer"),
            *(Column(name=metric) for metric in metrics),
        ),
        rows=tuple(rows),
    )  # fmt: skip
