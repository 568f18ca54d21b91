"""The numbers everyone looks for first: headline measures with intervals, ranks, and the trade-off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from passkwh.analysis.ranking import Ranking
from passkwh.analysis.tables import Cell
from passkwh.measures import MEASURES, Measure, measure, metric, metric_per_kwh
from passkwh.reports.document.content import Block, Estimate, NotAvailable, TableBlock, Text, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection, everywhere
from passkwh.reports.document.text import listed
from passkwh.reports.figures.plane import energy_accuracy
from passkwh.units import joules_to_kwh

GROUPED_BY = "pass_at_kwh"


def build(evidence: Evidence) -> Draft:
    """Results with intervals, rankings, frontier, the benchmark's own metrics."""
    blocks: list[Block | Drawing] = [headline_table(evidence), _explained(evidence), energy_accuracy(evidence)]
    if not evidence.by_run:
        blocks += _pass_at_more(evidence)
    blocks += _metrics(evidence)
    if not evidence.by_run and len(evidence.labels) > 1:
        blocks += [_ranking(r, evidence) for r in evidence.analysis.rankings if r.ranked]
    return Draft(tuple(blocks))


def headline_table(evidence: Evidence) -> TableBlock:
    """One row a configuration, or a run."""
    unit, frontier = evidence.energy_unit, evidence.on_frontier

    def cell(name: str, factor: float = 1.0) -> Callable[[str], Estimate]:
        return lambda label: evidence.headline(name, label, factor)

    def net(label: str) -> float | None:
        energy_j = evidence.first_run(label).summary.net_energy_j
        return None if energy_j is None else joules_to_kwh(energy_j) * unit.factor

    columns: list[tuple[str, str, Callable[[str], Cell | Estimate]]] = [
        ("configuration", "text", lambda label: label),
        (MEASURES["pass_at_1"].heading(), "estimate", cell("pass_at_1")),
        (MEASURES["energy_kwh"].heading(unit), "estimate", cell("energy_kwh", unit.factor)),
        *((MEASURES[n].heading(), "estimate", cell(n))
          for n in ("pass_at_kwh", "solved_per_kwh", "joules_per_token", "tokens_per_s")),
        ("frontier", "text", lambda label: {True: "yes", False: "no", None: None}[frontier.get(label)]),
        ("energy is", "text", evidence.provenance),
    ]  # fmt: skip
    if evidence.by_run:
        of = f"solved of {evidence.runs[0].summary.tasks}"  # all runs are of the same tasks
        columns[2:2] = [(of, "number", lambda label: evidence.first_run(label).summary.solved)]
        columns[4:4] = [(f"net ({unit.name}) ↓", "number", net)]
    else:
        rankings = [r for r in evidence.analysis.rankings if r.measure == GROUPED_BY]
        groups = {r.label: r.groups for ranking in rankings for r in ranking.ranked}
        columns[-2:-2] = [("group", "text", groups.get)]
    over = "each run over all of its tasks" if evidence.by_run else "over the same tasks"
    return table_of(
        "results",
        f"Headline measures with {evidence.settings.level:.0%} intervals, {over}",
        {name: style for name, style, _ in columns},
        [[value(label) for _, _, value in columns] for label in evidence.labels],
    )


def _explained(evidence: Evidence) -> Text:
    unit = evidence.energy_unit.name
    text = (
        "↑ more is better, ↓ less is better. Below a figure stands its interval: a bootstrap over what was measured "
        "once (tasks; batches where they share a reading), with the errors of meter, idle power and repeats. It says "
        "how far other tasks of the same kind might move the figure, not what another machine would. "
        f"Energy ({unit}) is of one run, generating and scoring, counted channels: gross is all that was drawn in "
        "those windows, net is gross minus idle power × duration, with the model loaded. pass@kWh = pass@1 / gross kWh "
        "(thesis, eq. 3.37) and depends on how many tasks a run has; solved/kWh does not. On the frontier: no other is "
        "both cheaper and at least as accurate. Estimated or simulated energy is not a measurement."
    )
    if not evidence.by_run:
        text += " Configurations that share a letter in group cannot be told apart by pass@kWh, all pairs together."
    return Text(sentence=(text,), tone="soft")


def _metrics(evidence: Evidence) -> list[Block]:
    """The benchmark's own metrics of each run, and the same per kWh; nothing where there are none."""
    names = metric_names(evidence)
    per_kwh = list(dict.fromkeys(name for run in evidence.runs for name in run.summary.metrics_per_kwh))
    tables = [_metric_table(evidence, "metrics", "The benchmark's own metrics", [metric(n) for n in names])]
    tables.append(
        _metric_table(
            evidence, "metrics_per_kwh", "Metrics per kWh: more is better", [metric_per_kwh(n) for n in per_kwh]
        )
    )
    return [table for table, shown in zip(tables, (names, per_kwh), strict=True) if shown]


def metric_names(evidence: Evidence) -> list[str]:
    """The corpus-level metrics that any run has, in order of first appearance."""
    return list(dict.fromkeys(name for run in evidence.runs for name in run.summary.metrics))


_OF_RUNS = "Of each whole run: these metrics are of the corpus, are not resampled, and so have no intervals here."


def _metric_table(evidence: Evidence, name: str, title: str, metrics: Sequence[Measure]) -> TableBlock:
    columns = [("configuration", "text"), ("repeat", "integer"), *((m.label, "number") for m in metrics)]
    rows = [
        (label, run.manifest.spec.repeat + 1, *(m.value(run.summary) for m in metrics))
        for label, run in zip(evidence.run_labels, evidence.runs, strict=True)
    ]
    return table_of(
        name,
        title,
        columns,
        rows,
        note=" ".join(dict.fromkeys([_OF_RUNS, *(m.limits for m in metrics if m.limits)])),
    )


def _ranking(ranking: Ranking, evidence: Evidence) -> TableBlock:
    is_energy = ranking.measure == "energy_kwh"
    unit = evidence.energy_unit if is_energy else None
    name = MEASURES[ranking.measure].heading(unit)[:-2]  # the title says which way is better
    better = "more" if ranking.direction == "max" else "less"
    left_out = f" Left out, without a value: {listed(ranking.left_out)}." if ranking.left_out else ""
    return table_of(
        f"ranking_{ranking.measure}",
        f"Ranking by {name}: {better} is better",
        {"rank": "integer", "configuration": "text", name: "estimate", "possible ranks": "text", "group": "text"},
        [
            (r.rank, r.label, evidence.headline(ranking.measure, r.label, unit.factor if unit else 1.0),
             f"{r.best_rank}–{r.worst_rank}", r.groups)
            for r in ranking.ranked
        ],
        folded=ranking.measure != GROUPED_BY,
        note="Possible ranks: from those shown to be better and shown to be worse, all pairs taken together at "
        f"{ranking.level:.0%}. Those that share a letter cannot be told apart.{left_out}",
    )  # fmt: skip


def _pass_at_more(evidence: Evidence) -> list[Block]:
    """pass@k beyond 1, where there are samples for it."""
    names = {
        i.measure for i in evidence.analysis.intervals if i.measure.startswith("pass_at_") and i.measure != GROUPED_BY
    }
    ks = sorted(int(name.removeprefix("pass_at_")) for name in names)
    if ks == [1] or not ks:
        least = int(evidence.table.evaluated.min())
        reason = (
            "samples have no verdicts"
            if least == 0
            else "it needs k samples of every task in every configuration; the least that was evaluated is "
            f"{least}, and the next k is 5"
        )
        return [NotAvailable(what="pass@k for k above 1", reason=reason)]
    return [
        table_of(
            "pass_at_k",
            "pass@k, from n samples a task (thesis, eq. 3.36)",
            {"configuration": "text", **{measure(f"pass_at_{k}").heading(): "estimate" for k in ks}},
            [(label, *(evidence.headline(f"pass_at_{k}", label) for k in ks)) for label in evidence.labels],
        )
    ]


RESULTS = FunctionSection(
    "results",
    "Results",
    "headline measures with intervals, the plane of energy and accuracy, metrics, ranks",
    {"short": 20, **everywhere(20)},
    build,
)
