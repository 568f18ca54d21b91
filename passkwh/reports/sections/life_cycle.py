"""What making configurations cost, and when it is paid back (thesis, sections 4.4 and 4.5)."""

from __future__ import annotations

from passkwh.analysis.life_cycle import paybacks
from passkwh.reports.document.content import Block, Estimate, Text, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, FunctionSection
from passkwh.reports.document.text import sentence


def build(evidence: Evidence) -> Draft | None:
    """A row for each quantized or early-exit configuration; None where there is none."""
    rows = paybacks(evidence.labels, [evidence.first_run(label) for label in evidence.labels])
    if not rows:
        return None
    text = (
        "Quantizing, fine-tuning and training an agent cost energy once. Here it is set against what the configuration "
        "saves on every solved task; a checkpoint that others made cost them energy that is not in this."
    )
    blocks: tuple[Block, ...] = (
        Text(sentence=sentence(text)),
        table_of(
            "life_cycle", "Energy of making a configuration, and solved tasks until it is paid back",
            {"configuration": "text", "made by": "text", "making (J)": "estimate", "energy is": "text",
             "J per solved task ↓": "number", "before": "text", "J per solved task before": "number",
             "solved tasks to pay back ↓": "estimate"},
            [
                (
                    row.label, row.made_by, Estimate(value=row.making_j, reason=row.reason), row.provenance,
                    row.joules_per_solved, row.reference, row.reference_joules_per_solved,
                    Estimate(value=row.solved_to_pay_back, reason=row.reason),
                )
                for row in rows
            ],
            note="First run of each configuration. A solved task costs the run's energy over the tasks that it solves.",
        ),
    )  # fmt: skip
    return Draft(blocks)


LIFE_CYCLE = FunctionSection(
    "life-cycle",
    "Life cycle",
    "energy of quantizing and training, and after how many solved tasks it is paid back",
    {"all": 47, "awq": 47, "gptq": 47, "early-exit": 47},
    build,
)
