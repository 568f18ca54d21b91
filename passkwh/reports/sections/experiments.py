"""A named experiment of the thesis: its figure and tables, and what the matched samples say beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passkwh.analysis.effects_vs_reference import ReferenceEffect
from passkwh.analysis.estimate.architecture import known_model
from passkwh.analysis.experiments import DESIGNS, ExperimentName
from passkwh.analysis.requirements import requirements
from passkwh.analysis.result_tables import experiment_tables
from passkwh.analysis.sentences import about_accuracy
from passkwh.reports.document.content import (
    Block,
    Bullets,
    Heading,
    NotAvailable,
    TableBlock,
    Text,
    table_block,
    table_of,
)
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing
from passkwh.reports.document.text import count, listed, scaled, sentence
from passkwh.reports.figures.compare import measures
from passkwh.reports.sections.summary import MOST_CHANGES, change_sentence


@dataclass(frozen=True)
class ExperimentSection:
    """The section of one experiment, in its own outline and in that of all."""

    name: ExperimentName
    title: str
    what: str
    estimated: str
    """The thesis's table of computed requirements."""

    @property
    def id(self) -> str:
        """Its place on the page."""
        return f"experiment-{self.name}"

    @property
    def summary(self) -> str:
        """What it shows."""
        return f"the thesis's experiment: {self.what[0].lower()}{self.what[1:].rstrip('.')}"

    @property
    def outlines(self) -> dict[str, int]:
        """The experiment's and that of all, in the thesis's order."""
        return {self.name: 30, "all": 30 + list(DESIGNS).index(self.name)}

    def build(self, evidence: Evidence) -> Draft | None:
        """Families, results, matched comparisons, the thesis's tests; None where no family is among the runs."""
        if self.name not in evidence.experiments:
            return None
        experiment, changes = evidence.experiments[self.name], evidence.changes[self.name]
        folder = self.name.replace("-", "_")
        tables = {t.name.removeprefix(f"{folder}_"): t for t in experiment_tables(experiment)}
        families = experiment.families
        labels = list(dict.fromkeys(label for f in families for label in f.labels))
        titles = "; ".join(family.title for family in families)
        blocks: list[Block | Drawing] = [
            Text(sentence=sentence(self.what, " ", count(len(families), "family", "families"), f": {titles}.")),
            measures(evidence, f"{folder}_measures", labels, [f.labels[0] for f in families]),
            table_block(tables.pop("results"), note="Over one run's tasks; latency is the time spent generating."),
            Heading(text="On the same tasks"),
        ]
        if len(changes) <= MOST_CHANGES:
            blocks.append(Bullets(items=tuple(change_sentence(change, evidence) for change in changes)))
        blocks.append(_changes(f"{folder}_matched", changes, evidence))
        blocks.append(table_block(tables.pop("friedman")))
        blocks += [table_block(tables.pop(n)) for n in sorted(tables) if n.endswith("conover")]
        blocks.append(Heading(text="As the thesis tests it"))
        blocks += [table_block(t) for t in tables.values()]
        blocks.append(Heading(text="By computation alone"))
        blocks += _characteristics(f"{folder}_characteristics", evidence, labels)
        blocks += _requirements(f"{folder}_requirements", self.estimated, evidence, labels)
        return Draft(tuple(blocks))


def _changes(name: str, changes: Sequence[ReferenceEffect], evidence: Evidence) -> TableBlock:
    settings = evidence.settings

    def verdict_on(change: ReferenceEffect) -> str | None:
        verdict = about_accuracy(change.tests, settings.margin, round(1 - settings.level, 12)).verdict
        return None if verdict == "cannot be said" else verdict

    return table_of(
        name,
        f"Each configuration against its family's reference, matched by task ({settings.level:.0%} intervals)",
        {
            "configuration": "text", "reference": "text", "energy, ratio ↓": "estimate", "p energy": "p",
            "pass@1, difference ↑": "estimate", "p pass": "p", "accuracy is": "text", "pass@kWh, ratio ↑": "estimate",
            "tokens/s, ratio ↑": "estimate",
        },
        [
            (
                change.label, change.reference, scaled(change.contrast("energy_kwh").ratio),
                change.tests.energy_p_holm, scaled(change.contrast("pass_at_1").difference),
                change.tests.passing_p_holm, verdict_on(change), scaled(change.contrast("pass_at_kwh").ratio),
                scaled(change.contrast("tokens_per_s").ratio),
            )
            for change in changes
        ],
        note="Ratios are of totals, bootstrapped over what was measured once; p-values are of the log ratio of totals "
        "with every source of error, and of McNemar's test on verdicts, adjusted by Holm over this table. Accuracy: a "
        f"loss or gain that is shown, equality or no loss within {settings.margin:g} that is shown, or neither.",
    )  # fmt: skip


def _characteristics(name: str, evidence: Evidence, labels: Sequence[str]) -> list[Block]:
    """The thesis's table 4.1, of the models whose configuration this package has."""
    models = {}
    for label in labels:
        known = known_model(evidence.first_run(label).manifest.model.name)
        if known is not None:
            models[known.name] = known.architecture
    if not models:
        return []
    columns = {
        "model": "text", "parameters": "integer", "layers": "integer", "width": "integer", "heads": "integer",
        "key-value heads": "integer", "head size": "integer", "vocabulary": "integer", "context": "integer",
    }  # fmt: skip
    rows = [
        (n, a.parameters, a.layers, a.hidden, a.heads, a.kv_heads, a.head_dim, a.vocab, a.context)
        for n, a in models.items()
    ]
    return [table_of(name, "Characteristics of the models", columns, rows, thesis="4.1")]


def _requirements(name: str, thesis: str, evidence: Evidence, labels: Sequence[str]) -> list[Block]:
    """The thesis's table of computed requirements, of those that can be estimated, and the reason for the others."""
    every = requirements(evidence.comparison, labels)
    rows = [
        (r.label, e.device, e.prefill_flop / 1e12, e.decode_flop_per_step / 1e9, e.decode_bytes_per_step / 1e9,
         e.ttft_s * 1e3, e.tpot_s * 1e3, e.tgt_s, e.vram_bytes / 1e9, e.energy_j)
        for r in every if (e := r.estimate) is not None
    ]  # fmt: skip
    blocks: list[Block] = []
    if rows:
        columns = {
            "configuration": "text", "device": "text", "prefill (TFLOP)": "number", "decode step (GFLOP)": "number",
            "decode step (GB)": "number", "TTFT (ms)": "number", "TPOT (ms)": "number", "TGT (s)": "number",
            "VRAM (GB)": "number", "energy (J)": "number",
        }  # fmt: skip
        title = "Requirements of one batch, estimated from sizes and peak rates, not measured"
        notes = "; ".join(dict.fromkeys(note for r in every if r.estimate for note in r.estimate.notes))
        blocks.append(table_of(name, title, columns, rows, thesis=thesis, note=notes or None))
    reasons: dict[str, list[str]] = {}
    for r in every:
        if r.reason is not None:
            reasons.setdefault(r.reason, []).append(r.label)
    for reason, names in reasons.items():
        what = "Computed requirements" + ("" if len(names) == len(every) else f" of {listed(names)}")
        blocks.append(NotAvailable(what=what, reason=reason, after=f"thesis, table {thesis}"))
    return blocks


BATCH_SIZE = ExperimentSection(
    "batch-size", "Batch size", "Prompts are generated together in batches; nothing else differs.", "5.14"
)
MODEL_SIZE = ExperimentSection(
    "model-size", "Model size", "Models of one family in several sizes; nothing else differs.", "5.19"
)
FINE_TUNING = ExperimentSection("fine-tuning", "Fine-tuning", "A base model against its instruct version.", "5.25")
AWQ = ExperimentSection(
    "awq", "Quantization with AWQ", "A model without quantization against the same with AWQ (4 bits).", "5.30"
)
GPTQ = ExperimentSection(
    "gptq", "Quantization with GPTQ", "A model without quantization against the same with GPTQ in 8 and 4 bits.", "5.35"
)
