"""All configurations against each other on the same tasks, beside the thesis's tests for independent groups."""

from __future__ import annotations

from passkwh.analysis.mixed import MixedResult
from passkwh.analysis.result_tables import analysis_tables
from passkwh.reports.document.content import Block, Estimate, NotAvailable, Text, table_block, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection, everywhere
from passkwh.reports.figures.compare import pair_matrix

MOST_COLUMNS = 8
"""A matrix of p-values with more configurations is folded away."""


def build(evidence: Evidence) -> Draft:
    """Tests over all, each pair, post-hoc matrices and the mixed model."""
    if len(evidence.labels) < 2:
        reason = f"only one configuration was given ({evidence.labels[0]})"
        return Draft((NotAvailable(what="Any comparison between configurations", reason=reason),))
    tables = {t.name: t for t in analysis_tables(evidence.analysis)}
    many = len(evidence.labels) > MOST_COLUMNS
    text = (
        "Every configuration solved the same tasks, so tests that use the match are the ones to read; Kruskal-Wallis "
        "and Dunn take them for independent, as the thesis does. The largest difference over all pairs and the tests "
        "of pairs hold every source of error; Friedman, Conover and Nemenyi are about these runs, and would not "
        "say the same of others. One value is what was measured once: a task, a batch, or a block over time."
    )
    blocks: list[Block | Drawing] = [
        Text(sentence=(text,)),
        table_block(tables["tests"]),
        pair_matrix(evidence),
        table_block(
            tables["pairs"],
            folded=len(evidence.analysis.pairs) > 15,
            note="energy a/b: ratio of geometric means over tasks. p Holm, p BH: of the log ratio of "
            "totals with every source of error, adjusted over all pairs. p a not worse: that a's pass@1 is lower than "
            "b's by the margin or more, adjusted over all such claims.",
        ),
        table_block(tables["errors"], folded=len(evidence.analysis.pairs) > 15),
    ]
    for name in ("dunn", "conover", "nemenyi"):
        if name in tables:
            blocks.append(table_block(tables[name], folded=many))
        else:
            result = getattr(evidence.analysis, name)
            blocks.append(NotAvailable(what=f"{result.test}'s post-hoc test", reason=result.reason or "no p-values"))
    return Draft((*blocks, _mixed(evidence)))


def _mixed(evidence: Evidence) -> Block:
    model = evidence.analysis.mixed
    if model.reason or not model.effects:
        return NotAvailable(what="Mixed model of log energy", reason=model.reason or "it has no effects")
    icc = "" if model.icc is None else f" Tasks account for {model.icc:.0%} of the variance."
    return table_of(
        "mixed",
        "Mixed model of log energy: configurations fixed, tasks and task × configuration random (REML)",
        {
            "configuration": "text", "log ratio of energy": "estimate", "ratio of energy": "number",
            "std. error": "number", "z": "number", "p": "p",
        },
        [
            (e.label, Estimate(value=e.estimate, low=e.low, high=e.high), e.ratio, e.std_error, e.z, e.p_value)
            for e in model.effects
        ],
        folded=len(model.effects) > MOST_COLUMNS,
        note=f"Log ratio of energy to that of {model.reference}.{icc} {_random(model)}",
    )  # fmt: skip


def _random(model: MixedResult) -> str:
    parts = "Tasks" if model.interaction_variance is None else "Tasks, and tasks within configurations,"
    if model.run_variance is None:
        return f"{parts} are random; how much runs differ is in no error, so this is about these runs."
    return f"{parts} are random; the scatter of repeats is in the errors, with Student's t."


PAIRED = FunctionSection(
    "paired", "Paired analyses", "every pair of configurations on the same tasks", everywhere(60), build
)
