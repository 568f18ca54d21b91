"""What thinking costs: tokens, joules and time of it, and what each way of thinking spends per solved task."""

from __future__ import annotations

from passkwh.analysis.results import Contrast
from passkwh.analysis.thinking import families, joules_per_solved
from passkwh.measures import MEASURES
from passkwh.reports.document.content import Block, Bullets, Estimate, Part, Sentence, Text, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection, everywhere
from passkwh.reports.document.text import quantity, sentence, span

_BY = {"marks": "measured", "tokens": "shared by tokens", "both": "measured, and shared by tokens"}


def build(evidence: Evidence) -> Draft | None:
    """A row a run; then configurations that differ in nothing else. None where no run thought or was told how."""
    runs = evidence.runs
    if all(r.summary.cut_while_thinking is None and r.manifest.spec.thinking == "auto" for r in runs):
        return None
    measured = [MEASURES[name] for name in ("reasoning_tokens", "reasoning_energy_j", "reasoning_share", "reasoning_s")]
    columns = {
        "configuration": "text", "thinking": "text", "generated tokens": "integer",
        **{m.heading(): "integer" if m.name.endswith("tokens") else "number" for m in measured},
        "energy of thinking is": "text", "J/solved task ↓": "number", "cut while thinking": "integer",
    }  # fmt: skip
    rows = [
        (
            label, run.manifest.spec.thinking, run.summary.completion_tokens,
            *(m.value(run.summary) for m in measured), _BY.get(run.summary.reasoning_energy_by or ""),
            joules_per_solved(run.summary), run.summary.cut_while_thinking,
        )
        for label, run in zip(evidence.run_labels, runs, strict=True)
    ]  # fmt: skip
    blocks: list[Block | Drawing] = [
        table_of("thinking", "Thinking in each run, over all of its tasks", columns, rows),
        Text(sentence=(EXPLAINED,), tone="soft"),
    ]
    if compared := _compared(evidence):
        blocks.append(Bullets(items=tuple(compared)))
    if cut := _cut(evidence):
        blocks.append(Bullets(items=tuple(cut), tone="warning"))
    return Draft(tuple(blocks))


EXPLAINED = (
    "Thinking is all that a model generates up to the end of its last thinking phase: no part of the answer that is "
    "scored, always part of the energy. Its energy is measured from the first token to the end of thinking where a "
    "sample is generated alone; in a batch it is the sample's share by tokens. auto leaves it to the model's template. "
    "J/solved task is the run's gross energy, scoring too, divided by the tasks it is expected to solve."
)


def _compared(evidence: Evidence) -> list[Sentence]:
    """A sentence for each configuration against the one of its family that thinks least."""
    first = [evidence.first_run(label) for label in evidence.labels]
    made: list[Sentence] = []
    for reference, *others in families([run.manifest for run in first]):
        for other in others:
            base, label = evidence.labels[reference], evidence.labels[other]
            one, two = (joules_per_solved(first[p].summary) for p in (other, reference))
            costs: list[list[Part]] = [
                ["solves nothing"] if joules is None else ["spends ", quantity(joules, "J"), " per solved task"]
                for joules in (one, two)
            ]
            ratio: list[Part] = [] if evidence.by_run else _ratio(evidence, label, base)
            made.append(sentence(f"{label} ", costs[0], f", {base} ", costs[1], ratio, "."))
    return made


def _ratio(evidence: Evidence, label: str, base: str) -> list[Part]:
    """How many times the reference's energy per solved task: the inverse of the ratio of pass@kWh on the same tasks."""
    contrast = next(
        (c for c in evidence.analysis.contrasts if c.measure == "pass_at_kwh" and {c.a, c.b} == {label, base}), None
    )
    if contrast is None or contrast.ratio.estimate is None or contrast.ratio.estimate <= 0:
        return []
    return [", ", *span(_energy_ratio(contrast, label)), " times as much on the same tasks"]


def _energy_ratio(contrast: Contrast, label: str) -> Estimate:
    ratio = contrast.ratio
    values = [ratio.estimate, ratio.low, ratio.high]
    if contrast.a == label:  # more of it per kWh is less energy each
        values = [None if not v else 1 / v for v in (ratio.estimate, ratio.high, ratio.low)]
    return Estimate(value=values[0], low=values[1], high=values[2], reason=ratio.reason)


def _cut(evidence: Evidence) -> list[Sentence]:
    return [
        sentence(
            quantity(run.summary.cut_while_thinking, style="integer"), f" of {run.summary.samples} samples of {label} "
            f"ended while thinking (most often at {run.manifest.spec.max_new_tokens} new tokens) and have no answer: "
            "they count as failed, and their energy is in every figure.",
        )
        for label, run in zip(evidence.run_labels, evidence.runs, strict=True)
        if run.summary.cut_while_thinking
    ]  # fmt: skip


THINKING = FunctionSection(
    "thinking",
    "Thinking",
    "tokens, energy and time of thinking, and energy per solved task",
    {"short": 25, **everywhere(25)},
    build,
)
