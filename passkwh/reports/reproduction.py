"""``bench reproduce`` as one HTML page: each claim of a work with its verdict, its printed tables, own runs beside."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from passkwh import __version__
from passkwh.analysis.conventions import CONVENTIONS
from passkwh.analysis.replications.printed import PrintedTable
from passkwh.analysis.replications.reproduction import Reproduction
from passkwh.analysis.replications.thesis_claims import distinct, on_frontier, technique_of
from passkwh.analysis.replications.verdicts import Check, tally
from passkwh.errors import UsageError
from passkwh.harness.runs.files import write_atomic
from passkwh.measures import MEASURES
from passkwh.reports.document.content import (
    Block,
    Bullets,
    FigureBlock,
    Report,
    Section,
    TableBlock,
    Text,
    table_of,
)
from passkwh.reports.document.page import render
from passkwh.reports.document.section import Drawing
from passkwh.reports.document.text import count, sentence
from passkwh.reports.figures.plane import SHAPES, by_technique, plane
from passkwh.reports.figures.render import draw

TITLES = {"thesis": "Walking the Tightrope, held against itself", "green-code": "GREEN-CODE, held against itself"}
KINDS = {
    "claim": "What the text says", "equation": "Equations", "test": "Tests", "regression": "Regressions",
    "estimate": "Computational requirements", "ratio": "Results", "tables": "One configuration in several tables",
}  # fmt: skip
CLAIM_COLUMNS = {
    "place": "text", "says": "text", "printed": "text", "computed": "text", "against": "text", "verdict": "text",
    "because": "text",
}  # fmt: skip
HALF_DIGIT = 0.005
"""Of a figure with two decimals, as all of the thesis's energies and pass@1."""


def write_page(result: Reproduction, out: Path) -> None:
    """Write the page of a reproduction. Raises UsageError where ``out`` cannot be written."""
    sections = [_summary(result), _conflicts(result), *_kinds(result)]
    pictures = {}
    if result.work == "thesis":
        drawing = _printed_tradeoff()
        pictures[drawing.block.name] = draw(drawing).inline
        blocks: tuple[Block, ...] = (drawing.block,)
        sections.insert(2, Section(id="tradeoff", title="Energy against accuracy, as printed", blocks=blocks))
    sections += [_own_runs(result), _printed_tables(result)]
    report = Report(
        title=TITLES[result.work], subtitle=sentence(result.source), outline="reproduce",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), version=__version__,
        sections=tuple(_numbered(sections)), results={},
    )  # fmt: skip
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, render(report, pictures, files=False))
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another file") from error


def _numbered(sections: Iterable[Section]) -> Iterable[Section]:
    number = 0
    for section in sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, TableBlock):
                number += 1
                block = block.model_copy(update={"number": number})
            blocks.append(block)
        yield section.model_copy(update={"blocks": tuple(blocks)})


def _summary(result: Reproduction) -> Section:
    counts, convention = result.counts, CONVENTIONS[result.work]
    total = len(result.checks)
    lead = sentence("Of ", count(total, "check"), f" of what is printed against its other figures: {tally(counts)}.")
    return Section(
        id="summary", title="Summary",
        blocks=(
            Text(sentence=lead, tone="lead"),
            Text(
                sentence=(
                    "Nothing here was measured: figures are recomputed from figures of the same work, each with what "
                    "its rounding allows. A conflict says that two printed figures cannot both be right, not which "
                    "of them is wrong.",
                ),
            ),
            Text(sentence=(f"Convention of the work: {convention.describe()}.",), tone="soft"),
        ),
    )  # fmt: skip


def _row(check: Check) -> tuple[str, ...]:
    return (
        check.place, check.says, check.printed, check.computed, check.against, check.verdict, check.because,
    )  # fmt: skip


def _conflicts(result: Reproduction) -> Section:
    own = [c for c in result.checks if c.verdict == "conflicts"]
    first = [c for c in own if c.kind in ("claim", "equation")]
    blocks: list[Block] = [
        table_of("conflicts", "Claims and equations that conflict with what is printed elsewhere", CLAIM_COLUMNS,
                 [_row(c) for c in first])
    ]  # fmt: skip
    rest = [c for c in own if c not in first]
    if rest:
        blocks.append(
            table_of("conflicts_of_tables", "Tables that conflict with themselves or with each other", CLAIM_COLUMNS,
                     [_row(c) for c in rest], folded=len(rest) > 12)
        )  # fmt: skip
    close = [c for c in result.checks if c.verdict == "within rounding" and c.kind != "regression"]
    if close:
        blocks.append(
            table_of(
                "rounding", "Figures that agree only by the digits that rounding took", CLAIM_COLUMNS,
                [_row(c) for c in close],
                note="What is computed rounds to another figure than the printed one; digits that are not printed can "
                "make up for it.",
            )
        )  # fmt: skip
    return Section(id="conflicts", title="What does not follow", blocks=tuple(blocks))


def _kinds(result: Reproduction) -> Iterable[Section]:
    for kind, title in KINDS.items():
        own = [c for c in result.checks if c.kind == kind]
        if own:
            counts = {v: sum(c.verdict == v for c in own) for v in result.counts}
            table = table_of(f"checks_{kind}", f"{title}: every check", CLAIM_COLUMNS, [_row(c) for c in own],
                             folded=kind != "claim")  # fmt: skip
            blocks: tuple[Block, ...] = (Text(sentence=(count(len(own), "check"), f": {tally(counts)}.")), table)
            yield Section(id=f"checks-{kind}", title=title, blocks=blocks)


def _own_runs(result: Reproduction) -> Section:
    if not result.own_runs:
        text = f"No runs were given: `bench reproduce {result.work} --runs DIR` puts own runs beside the printed rows."
        return Section(id="own-runs", title="Own runs beside the printed ones", blocks=(Text(sentence=(text,)),))
    matched = [r for r in result.own_runs if r.printed_place]
    left = [r for r in result.own_runs if not r.printed_place]
    blocks: list[Block] = []
    if matched:
        blocks.append(
            table_of(
                "own_runs", "The same configurations, measured here",
                {"run": "text", "configuration": "text", "printed in": "text", "measure": "text", "printed": "text",
                 "own": "number", "own / printed": "number"},
                [(r.run, r.configuration, r.printed_place, r.measure, r.printed, r.own, r.ratio) for r in matched],
                note=f"By the work's convention: {CONVENTIONS[result.work].describe()}. Other hardware gives other "
                     "energies.",
            )
        )  # fmt: skip
    if left:
        items = tuple((f"{r.run}: no printed row is of {r.configuration}.",) for r in left)
        blocks.append(Bullets(items=items))
    return Section(id="own-runs", title="Own runs beside the printed ones", blocks=tuple(blocks))


def _printed_tables(result: Reproduction) -> Section:
    return Section(
        id="tables", title="Printed tables",
        blocks=(Text(sentence=("As printed, each with its number and section.",)), *map(_printed, result.tables)),
    )  # fmt: skip


def _printed(table: PrintedTable) -> TableBlock:
    name = "printed_" + "".join(c if c.isalnum() else "_" for c in table.number.lower())
    title = f"Table {table.number} (section {table.section}): {table.title}" if table.number != "runs" else table.title
    return table_of(name, title, dict.fromkeys(table.columns, "text"), table.rows, folded=True, note=table.note or None)


def _printed_tradeoff() -> Drawing:
    """Figure 4.12 of the printed rows, by technique."""
    on = {row.label for row in on_frontier()}
    rows = []
    for row in distinct():
        energy, accuracy = float(row.energy_kwh), float(row.pass_at_1)
        rows.append(
            {
                "configuration": row.label, "energy": energy, "energy_low": energy - HALF_DIGIT,
                "energy_high": energy + HALF_DIGIT, "pass_at_1": accuracy,
                "pass_at_1_low": max(accuracy - HALF_DIGIT, 0.0), "pass_at_1_high": accuracy + HALF_DIGIT,
                "technique": technique_of(row.tuning, row.quant), "on": row.label in on,
                "place": "on the efficient frontier" if row.label in on else "beaten by another",
            }
        )  # fmt: skip
    block = FigureBlock(
        name="printed_tradeoff", number=1, after="thesis, figure 4.12",
        title="Energy of one run of BigCodeBench against pass@1, the 25 printed configurations",
        caption="Bars are what rounding to two decimals allows; dashed: the frontier.",
    )  # fmt: skip
    titles = (MEASURES["energy_kwh"].axis(None, "GPU energy above idle of one run"), MEASURES["pass_at_1"].axis())
    order = ["base", "instruct", "awq", "gptq-int8", "gptq-int4"]
    return plane(pd.DataFrame(rows), "pass_at_1", titles, by_technique(order), block, SHAPES)
