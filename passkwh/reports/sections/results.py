"""Headline measures of every configuration, ranks, and the trade-off between energy and accuracy."""

from __future__ import annotations

from passkwh.analysis.ranking import Ranking
from passkwh.analysis.tables import Cell
from passkwh.reports.document.content import Block, Column, Estimate, Missing, TableBlock, Text
from passkwh.reports.document.draft import Draft, Drawing, EnergyUnit
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import MEASURES, listed, scaled, sentence
from passkwh.reports.figures.tradeoff import tradeoff
from passkwh.reports.sections.quality import quality

GROUPED_BY = "pass_at_kwh"


def results(evidence: Evidence, unit: EnergyUnit) -> Draft:
    """Results with intervals, rankings, frontier."""
    blocks: list[Block | Drawing] = [headline_table(evidence, unit), _explained(unit)]
    blocks += [tradeoff(evidence, unit), *_pass_at_more(evidence), *quality(evidence)]
    if len(evidence.labels) > 1:
        blocks += [_ranking(r, evidence, unit) for r in evidence.analysis.rankings if r.ranked]
    return Draft("results", "Results", tuple(blocks))


def headline_table(evidence: Evidence, unit: EnergyUnit) -> TableBlock:
    """One row a configuration."""
    groups = {r.label: r.groups for k in evidence.analysis.rankings if k.measure == GROUPED_BY for r in k.ranked}
    frontier = evidence.analysis.tradeoff
    on = {p.label: "yes" if p.on_frontier else "no" for p in frontier.points} if frontier else {}
    rows: list[tuple[Cell | Estimate, ...]] = []
    for label in evidence.labels:
        rows.append(
            (
                label,
                scaled(evidence.interval("pass_at_1", label)),
                scaled(evidence.interval("energy_kwh", label), unit.per_kwh),
                scaled(evidence.interval("pass_at_kwh", label)),
                scaled(evidence.interval("solved_per_kwh", label)),
                scaled(evidence.interval("joules_per_token", label)),
                scaled(evidence.interval("tokens_per_s", label)),
                groups.get(label),
                on.get(label),
                evidence.provenance(label),
            )
        )
    return TableBlock(
        name="results",
        title=f"Headline measures with {evidence.analysis.settings.level:.0%} intervals, over the same tasks",
        columns=(
            Column(name="configuration", style="text"),
            Column(name="pass@1 ↑", style="estimate"),
            Column(name=f"energy ({unit.name}) ↓", style="estimate"),
            Column(name="pass@kWh ↑", style="estimate"),
            Column(name="solved/kWh ↑", style="estimate"),
            Column(name="J/token ↓", style="estimate"),
            Column(name="tokens/s ↑", style="estimate"),
            Column(name="group", style="text"),
            Column(name="frontier", style="text"),
            Column(name="energy is", style="text"),
        ),
        rows=tuple(rows),
    )


def _ranking(ranking: Ranking, evidence: Evidence, unit: EnergyUnit) -> TableBlock:
    factor = unit.per_kwh if ranking.measure == "energy_kwh" else 1.0
    name = f"energy ({unit.name})" if ranking.measure == "energy_kwh" else MEASURES[ranking.measure]
    better = "more" if ranking.direction == "max" else "less"
    left_out = f" Left out, without a value: {listed(ranking.left_out)}." if ranking.left_out else ""
    return TableBlock(
        name=f"ranking_{ranking.measure}",
        title=f"Ranking by {name}: {better} is better",
        folded=ranking.measure != GROUPED_BY,
        note="Possible ranks: from those shown to be better and shown to be worse, all pairs taken together at "
        f"{ranking.level:.0%}. Those that share a letter cannot be told apart.{left_out}",
        columns=(
            Column(name="rank", style="integer"), Column(name="configuration", style="text"),
            Column(name=name, style="estimate"), Column(name="possible ranks", style="text"),
            Column(name="group", style="text"),
        ),
        rows=tuple(
            (r.rank, r.label, scaled(evidence.interval(ranking.measure, r.label), factor),
             f"{r.best_rank}–{r.worst_rank}", r.groups)
            for r in ranking.ranked
        ),
    )  # fmt: skip


def _explained(unit: EnergyUnit) -> Text:
    return Text(
        sentence=sentence(
            f"↑ more is better, ↓ less is better. Energy ({unit.name}) is of one run over these tasks, generating and "
            "scoring, counted channels. pass@kWh = pass@1 / kWh (thesis, eq. 3.37) and depends on how many tasks a run "
            "has; solved/kWh does not. Configurations that share a letter in group cannot be told apart by pass@kWh, "
            "all pairs taken together."
        ),
        tone="soft",
    )


def _pass_at_more(evidence: Evidence) -> list[Block]:
    """pass@k beyond 1, where there are samples for it."""
    found = {
        i.measure for i in evidence.analysis.intervals if i.measure.startswith("pass_at_") and i.measure != GROUPED_BY
    }
    ks = sorted(int(measure.removeprefix("pass_at_")) for measure in found)
    if ks == [1] or not ks:
        least = int(evidence.table.evaluated.min())
        return [
            Missing(
                what="pass@k for k above 1",
                reason="samples have no verdicts"
                if least == 0
                else "it takes k samples of every task in every "
                f"configuration; the least that was evaluated is {least}, and the next k is 5",
            )
        ]
    return [
        TableBlock(
            name="pass_at_k",
            title="pass@k, from n samples a task (thesis, eq. 3.36)",
            columns=(
                Column(name="configuration", style="text"),
                *(Column(name=f"pass@{k} ↑", style="estimate") for k in ks),
            ),
            rows=tuple(
                (label, *(scaled(evidence.interval(f"pass_at_{k}", label)) for k in ks)) for label in evidence.labels
            ),
        )
    ]
