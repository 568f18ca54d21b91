"""All configurations against each other on the same tasks, beside the thesis's tests for independent groups."""

from __future__ import annotations

from passkwh.analysis.result_tables import analysis_tables
from passkwh.reports.document.content import Block, Column, Estimate, Missing, TableBlock, Text, table_block
from passkwh.reports.document.draft import Draft, Drawing
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.figures.compare import pair_matrix

MOST_COLUMNS = 8
"""A matrix of p-values with more configurations is folded away."""


def paired(evidence: Evidence) -> Draft:
    """Tests over all, each pair, post-hoc matrices and the mixed model."""
    title = "Paired analyses"
    if len(evidence.labels) < 2:
        reason = f"only one configuration was given ({evidence.labels[0]})"
        return Draft("paired", title, (Missing(what="Any comparison between configurations", reason=reason),))
    tables = {t.name: t for t in analysis_tables(evidence.analysis)}
    many = len(evidence.labels) > MOST_COLUMNS
    blocks: list[Block | Drawing] = [
        Text(
            sentence=(
                "Every configuration solved the same tasks, so tests that use the match (Friedman, Conover, Wilcoxon, "
                "McNemar) are the ones to read; Kruskal-Wallis and Dunn take them for independent, as the thesis does.",
            )
        ),
        table_block(tables["tests"]),
        table_block(
            tables["pairs"],
            folded=len(evidence.analysis.pairs) > 15,
            note="energy a/b: ratio of geometric means over tasks. p Holm, p BH: Wilcoxon on energies, adjusted over "
            "all pairs. p not worse: that a's pass@1 is lower than b's by the margin or more.",
        ),
    ]
    blocks.insert(2, pair_matrix(evidence))
    for name in ("dunn", "conover", "nemenyi"):
        if name in tables:
            blocks.append(table_block(tables[name], folded=many))
        else:
            result = getattr(evidence.analysis, name)
            blocks.append(Missing(what=f"{result.test}'s post-hoc test", reason=result.reason or "no p-values"))
    blocks.append(_mixed(evidence))
    return Draft("paired", title, tuple(blocks))


def _mixed(evidence: Evidence) -> Block:
    found = evidence.analysis.mixed
    if found.reason or not found.effects:
        return Missing(what="Mixed model of log energy", reason=found.reason or "it has no effects")
    icc = "" if found.icc is None else f" Tasks account for {found.icc:.0%} of the variance."
    return TableBlock(
        name="mixed",
        title="Mixed model of log energy: configurations fixed, tasks random (REML)",
        folded=len(found.effects) > MOST_COLUMNS,
        note=f"Log ratio of a sample's energy to that of {found.reference}.{icc}",
        columns=(
            Column(name="configuration", style="text"),
            Column(name="log ratio of energy", style="estimate"),
            Column(name="ratio of energy"),
            Column(name="std. error"),
            Column(name="z"),
            Column(name="p", style="p"),
        ),
        rows=tuple(
            (e.label, Estimate(value=e.estimate, low=e.low, high=e.high), e.ratio, e.std_error, e.z, e.p_value)
            for e in found.effects
        ),
    )
