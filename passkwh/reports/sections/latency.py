"""Requests in flight: latencies, the steady state, and what a token costs against how long an answer takes."""

from __future__ import annotations

import altair as alt
import pandas as pd

from passkwh.analysis.deadline import COST, DEADLINE, cheapest_within, within_each
from passkwh.analysis.pareto import frontier
from passkwh.measures import MEASURES
from passkwh.reports.document.content import (
    Block,
    Bullets,
    FigureBlock,
    NotAvailable,
    Sentence,
    TableBlock,
    Text,
    table_of,
)
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection, everywhere
from passkwh.reports.document.text import quantity, sentence
from passkwh.reports.figures.plane import plane
from passkwh.reports.figures.theme import ACCENT, BLUE

COLUMNS = (
    "tokens_per_s", "joules_per_token", "steady_tokens_per_s", "steady_joules_per_token",
    "ttft_p50_s", "ttft_p90_s", "ttft_p99_s", "tpot_p50_s", "tpot_p90_s", "tpot_p99_s",
    "latency_p50_s", "latency_p90_s", "latency_p99_s",
)  # fmt: skip
EXPLAINED = (
    "Percentiles are over the samples of a run. TTFT is the time from a request to its first token, TPOT the mean time "
    "of each further token, latency the time to the end of the answer; a row of a batch waits for the whole batch. "
    "Steady state is the time in which all requests asked for were in flight: without the beginning, and without the "
    "end, at which fewer and fewer are."
)


def build(evidence: Evidence) -> Draft | None:
    """A row a run, the plane, and the cheapest within each deadline. None where no run kept requests in flight."""
    if evidence.settings.deadline_s is None and all(run.manifest.spec.concurrency == 1 for run in evidence.runs):
        return None
    blocks: list[Block | Drawing] = [_table(evidence), Text(sentence=(EXPLAINED,), tone="soft")]
    points = _points(evidence)
    if points.empty:
        reason = "no configuration has both an energy per token and latencies"
        return Draft((*blocks, NotAvailable(what="J/token against latency", reason=reason)))
    return Draft((*blocks, Bullets(items=tuple(_cheapest(evidence, points))), _plane(evidence, points)))


def _table(evidence: Evidence) -> TableBlock:
    heads = {
        "configuration": "text", "engine": "text", "in flight": "integer", "batch size": "integer",
        **{MEASURES[name].heading(): "number" for name in COLUMNS}, "steady state is missing because": "text",
    }  # fmt: skip
    rows = [
        (
            label, run.manifest.model.engine, run.manifest.spec.concurrency, run.manifest.spec.batch_size,
            *(MEASURES[name].value(run.summary) for name in COLUMNS), run.summary.steady_reason,
        )
        for label, run in zip(evidence.run_labels, evidence.runs, strict=True)
    ]  # fmt: skip
    return table_of("latency", "Latencies and steady state of each run", heads, rows)


def _points(evidence: Evidence) -> pd.DataFrame:
    """Each label with an energy per token and latencies; ``on`` the frontier: no other is both cheaper and faster."""
    rows = []
    for label in evidence.labels:
        own = [run.summary for run, of in zip(evidence.runs, evidence.run_labels, strict=True) if of == label]
        latencies_s = [latency_s for summary in own if (latency_s := MEASURES[DEADLINE].value(summary)) is not None]
        cost = evidence.headline(COST, label)
        if cost.value is None or not latencies_s:
            continue
        ends = {DEADLINE: sum(latencies_s) / len(latencies_s), f"{DEADLINE}_low": min(latencies_s),
                f"{DEADLINE}_high": max(latencies_s)}  # fmt: skip
        rows.append({"configuration": label, **cost.ends("energy", "energy_low", "energy_high"), **ends})
    points = pd.DataFrame(rows)
    if rows:
        points["on"] = frontier([*zip(points["energy"], points[DEADLINE], strict=True)], ["min", "min"])
        points["place"] = ["cheapest within some deadline" if on else "beaten by another" for on in points["on"]]
    return points


def _cheapest(evidence: Evidence, points: pd.DataFrame) -> list[Sentence]:
    """The cheapest configuration within the deadline that was given; otherwise within each that one can keep."""
    deadline_s = evidence.settings.deadline_s
    if deadline_s is not None:
        place = cheapest_within(points["energy"], points[DEADLINE], deadline_s)
        if place is None:
            least_s = float(points[DEADLINE].min())
            return [
                sentence("No configuration gives nine of ten answers within ", quantity(deadline_s, "s"),
                         "; the fastest needs ", quantity(least_s, "s"), ".")
            ]  # fmt: skip
        return [_sentence(points.iloc[place], deadline_s)]
    kept = points.iloc[within_each(points["energy"].tolist(), points[DEADLINE].tolist())]
    return [_sentence(row, float(row[DEADLINE])) for _, row in kept.iterrows()]


def _sentence(row: pd.Series, deadline_s: float) -> Sentence:
    return sentence(
        "Within ", quantity(deadline_s, "s"), " for nine of ten answers, the cheapest configuration is "
        f"{row['configuration']}: ", quantity(float(row["energy"]), "J"), " per token, ",
        quantity(float(row[DEADLINE]), "s"), " per answer.",
    )  # fmt: skip


def _plane(evidence: Evidence, points: pd.DataFrame) -> Drawing:
    colour = alt.Color(
        "place:N", title=None, legend=alt.Legend(orient="top"),
        scale=alt.Scale(domain=["cheapest within some deadline", "beaten by another"], range=[ACCENT, BLUE]),
    )  # fmt: skip
    titles = (MEASURES[COST].axis(), MEASURES[DEADLINE].axis())
    block = FigureBlock(
        name="cost_latency", title="J/token against latency",
        caption="Bottom left is better. Bars are intervals across, least and most of repeats up; dashed: the shortest "
        f"deadline that so many joules per token keep.{evidence.energy_is}",
    )  # fmt: skip
    return plane(points, DEADLINE, titles, colour, block)


LATENCY = FunctionSection(
    "latency",
    "Requests in flight",
    "latency percentiles, steady state, and J/token against latency",
    {"short": 27, **everywhere(27)},
    build,
)
