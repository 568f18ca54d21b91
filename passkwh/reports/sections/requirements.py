"""The thesis's tables of computed requirements."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.analysis.requirements import requirements
from passkwh.reports.document.content import Block, Column, Missing, TableBlock
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import listed


def requirement_blocks(name: str, thesis: str, evidence: Evidence, labels: Sequence[str]) -> list[Block]:
    """The table of those that can be estimated, and the reason for the others."""
    blocks: list[Block] = []
    found = requirements(evidence.comparison, labels)
    rows = []
    notes: list[str] = []
    for r in found:
        e = r.estimate
        if e is not None:
            notes += e.notes
            rows.append(
                (r.label, e.device, e.prefill_flop / 1e12, e.decode_flop_per_step / 1e9, e.decode_bytes_per_step / 1e9,
                 e.ttft_s * 1e3, e.tpot_s * 1e3, e.tgt_s, e.vram_bytes / 1e9, e.energy_j)
            )  # fmt: skip
    if rows:
        blocks.append(
            TableBlock(
                name=name, title="Requirements of one batch, estimated from sizes and peak rates, not measured",
                thesis=thesis, rows=tuple(rows), note="; ".join(dict.fromkeys(notes)) or None,
                columns=(
                    Column(name="configuration", style="text"), Column(name="device", style="text"),
                    Column(name="prefill (TFLOP)"), Column(name="decode step (GFLOP)"),
                    Column(name="decode step (GB)"), Column(name="TTFT (ms)"), Column(name="TPOT (ms)"),
                    Column(name="TGT (s)"), Column(name="VRAM (GB)"), Column(name="energy (J)"),
                ),
            )
        )  # fmt: skip
    reasons: dict[str, list[str]] = {}
    for r in found:
        if r.reason is not None:
            reasons.setdefault(r.reason, []).append(r.label)
    for reason, names in reasons.items():
        who = "" if len(names) == len(found) else f" of {listed(names)}"
        after = f"thesis, table {thesis}"
        blocks.append(Missing(what=f"Computed requirements{who}", reason=reason, after=after))
    return blocks
