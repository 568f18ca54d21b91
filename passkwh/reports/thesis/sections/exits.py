"""Early exit: where tokens leave, what it saves and what it costs (GREEN-CODE's figures 1 and 6-11, table IV)."""

from __future__ import annotations

from passkwh.analysis.tables import Cell
from passkwh.reports.thesis.content import Column, Missing, TableBlock
from passkwh.reports.thesis.draft import Draft, Drawing
from passkwh.reports.thesis.evidence import Evidence


def exits(evidence: Evidence) -> Draft:
    """What these runs say about leaving early; of what they do not hold, the reason."""
    title = "Early exit"
    if "early-exit" in evidence.impossible:
        reason = evidence.impossible["early-exit"]
        blocks = tuple(
            Missing(what=what, reason=reason, after=f"GREEN-CODE, {item}")
            for item, what in (
                ("figure 1", "Quality, energy and latency by fixed exit layer"),
                ("figures 8-11", "Quality and resources by threshold"),
                ("table IV", "What the agent costs"),
            )
        )
        return Draft("early-exit", title, (*blocks, *_never()))
    return Draft("early-exit", title, (_layers(evidence), *_never()))


def _never() -> tuple[Missing | Drawing, ...]:
    """What no run folder holds."""
    return (
        Missing(
            what="Reward while the agent is trained",
            after="GREEN-CODE, figure 6",
            reason="a run measures a trained agent; rewards stand in the log of its training",
        ),
    )


def _layers(evidence: Evidence) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for position, run in enumerate(evidence.runs):
        summary = run.summary
        rows.append(
            (
                evidence.label_of(position), run.manifest.spec.exit or "all layers", summary.mean_exit_layer,
                summary.layers_skipped, summary.joules_per_token, summary.tokens_per_s,
            )
        )  # fmt: skip
    return TableBlock(
        name="exits",
        title="Layers that tokens ran through",
        columns=(
            Column(name="configuration", style="text"), Column(name="exit", style="text"),
            Column(name="mean layers"), Column(name="share skipped", style="fixed2"), Column(name="J/token ↓"),
            Column(name="tokens/s ↑"),
        ),
        rows=tuple(rows),
    )  # fmt: skip
