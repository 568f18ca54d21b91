"""A named experiment of the thesis: its figure and tables, and what the matched samples say beside them."""

from __future__ import annotations

from passkwh.analysis.effects_vs_reference import ReferenceEffect
from passkwh.analysis.experiments import Experiment, ExperimentName
from passkwh.analysis.result_tables import experiment_tables
from passkwh.reports.document.content import Block, Bullets, Column, Heading, TableBlock, Text, table_block
from passkwh.reports.document.draft import Draft, Drawing, EnergyUnit
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import count, scaled, sentence
from passkwh.reports.figures.compare import measures
from passkwh.reports.sections.requirements import requirement_blocks
from passkwh.reports.sections.summary import MOST_CHANGES, change_sentence

TITLES: dict[ExperimentName, tuple[str, str]] = {
    "batch-size": ("Batch size", "Prompts are generated together in batches; nothing else differs."),
    "model-size": ("Model size", "Models of one family in several sizes; nothing else differs."),
    "fine-tuning": ("Fine-tuning", "A base model against its instruct version."),
    "awq": ("Quantization with AWQ", "A model without quantization against the same with AWQ (4 bits)."),
    "gptq": ("Quantization with GPTQ", "A model without quantization against the same with GPTQ in 8 and 4 bits."),
}
ESTIMATED: dict[ExperimentName, str] = {
    "batch-size": "5.14", "model-size": "5.19", "fine-tuning": "5.25", "awq": "5.30", "gptq": "5.35",
}  # fmt: skip
"""The thesis's tables of computed requirements."""


def experiment(name: ExperimentName, evidence: Evidence, unit: EnergyUnit) -> Draft:
    """Families, results, matched comparisons, the thesis's tests."""
    found, changes = evidence.experiments[name], evidence.changes[name]
    title, what = TITLES[name]
    folder = name.replace("-", "_")
    tables = {t.name.removeprefix(f"{folder}_"): t for t in experiment_tables(found)}
    labels = list(dict.fromkeys(label for f in found.families for label in f.labels))
    blocks: list[Block | Drawing] = [
        Text(sentence=sentence(what, " ", count(len(found.families), "family", "families"), f": {_families(found)}.")),
        measures(evidence, unit, f"{folder}_measures", labels, [f.labels[0] for f in found.families]),
        table_block(tables.pop("results"), note="Over one run's tasks; latency is the time spent generating."),
        Heading(text="On the same tasks"),
    ]
    if len(changes) <= MOST_CHANGES:
        margin = evidence.analysis.settings.margin
        blocks.append(Bullets(items=tuple(change_sentence(change, margin) for change in changes)))
    blocks.append(_changes(f"{folder}_matched", changes, evidence))
    blocks.append(table_block(tables.pop("friedman")))
    blocks += [table_block(tables.pop(n)) for n in sorted(tables) if n.endswith("conover")]
    blocks.append(Heading(text="As the thesis tests it"))
    blocks += [table_block(t) for t in tables.values()]
    blocks.append(Heading(text="By computation alone"))
    blocks += requirement_blocks(f"{folder}_requirements", ESTIMATED[name], evidence, labels)
    return Draft(f"experiment-{name}", title, tuple(blocks))


def _families(found: Experiment) -> str:
    return "; ".join(family.title for family in found.families)


def _changes(name: str, changes: tuple[ReferenceEffect, ...], evidence: Evidence) -> TableBlock:
    settings = evidence.analysis.settings
    rows = []
    for change in changes:
        tests = change.tests
        shown = {None: None, True: "yes", False: "no"}[
            tests.accuracy.non_inferior if tests.accuracy.p_non_inferior is not None else None
        ]
        rows.append(
            (
                change.label,
                change.reference,
                scaled(change.contrast("energy_kwh").ratio),
                tests.energy_p_holm,
                scaled(change.contrast("pass_at_1").difference),
                tests.passing_p_holm,
                shown,
                scaled(change.contrast("pass_at_kwh").ratio),
                scaled(change.contrast("tokens_per_s").ratio),
            )
        )
    return TableBlock(
        name=name,
        title=f"Each configuration against its family's reference, matched by task ({settings.level:.0%} intervals)",
        note="Ratios are of totals, bootstrapped over tasks; p-values are of Wilcoxon's test on energies and McNemar's "
        f"on verdicts, adjusted by Holm over this table. Not worse: that pass@1 is lower by {settings.margin:g} or "
        "more is refuted.",
        columns=(
            Column(name="configuration", style="text"),
            Column(name="reference", style="text"),
            Column(name="energy, ratio ↓", style="estimate"),
            Column(name="p energy", style="p"),
            Column(name="pass@1, difference ↑", style="estimate"),
            Column(name="p pass", style="p"),
            Column(name="not worse", style="text"),
            Column(name="pass@kWh, ratio ↑", style="estimate"),
            Column(name="tokens/s, ratio ↑", style="estimate"),
        ),
        rows=tuple(rows),
    )
