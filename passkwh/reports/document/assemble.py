"""Evidence into a report: which sections there are, in which order, with numbered tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from passkwh import __version__
from passkwh.reports.document.content import Block, Report, Section, TableBlock
from passkwh.reports.document.draft import Draft, Drawing, energy_unit
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import count, sentence
from passkwh.reports.sections.coverage import coverage
from passkwh.reports.sections.exits import exits
from passkwh.reports.sections.experiments import TITLES, experiment
from passkwh.reports.sections.granularity import granularity
from passkwh.reports.sections.measured import measured
from passkwh.reports.sections.paired import paired
from passkwh.reports.sections.results import results
from passkwh.reports.sections.summary import summary
from passkwh.reports.sections.threats import threats

NAMES: dict[str, str] = {
    "granularity": "task by task",
    "early-exit": "early exit",
    "all": "all experiments",
    **{name: title[0].lower() + title[1:] for name, (title, _) in TITLES.items()},
}


@dataclass(frozen=True)
class Assembled:
    """A report and the definitions of its figures, by name."""

    report: Report
    drawings: dict[str, Drawing]


def assemble(evidence: Evidence) -> Assembled:
    """Put the report together."""
    unit = energy_unit(evidence)
    drafts: list[Draft] = [summary(evidence, unit), results(evidence, unit)]
    drafts += [experiment(name, evidence, unit) for name in evidence.experiments]
    if evidence.experiment in ("granularity", "all"):
        drafts.append(granularity(evidence))
    if evidence.experiment in ("early-exit", "all"):
        drafts.append(exits(evidence))
    drafts += [paired(evidence), measured(evidence), threats(evidence)]
    sections, drawings = _numbered(drafts)
    # What is here can be listed only when all have their numbers; the list takes the next one.
    listed, _ = _numbered([coverage(evidence, sections)], tables=sum(len(_tables(s)) for s in sections))
    sections += listed
    return Assembled(
        Report(
            title=f"Energy and accuracy of code models: {NAMES[evidence.experiment]}",
            subtitle=sentence(
                count(len(evidence.runs), "run"), f" on {evidence.runs[0].manifest.benchmark.name}, "
                f"{evidence.runs[0].manifest.host.cpu}",
                "".join(f", {g.name}" for g in evidence.runs[0].manifest.host.gpus),
            ),
            experiment=evidence.experiment,
            created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=__version__,
            sections=sections,
            results=_results(evidence),
        ),
        drawings,
    )  # fmt: skip


def _tables(section: Section) -> list[TableBlock]:
    return [block for block in section.blocks if isinstance(block, TableBlock)]


def _numbered(drafts: Sequence[Draft], tables: int = 0) -> tuple[tuple[Section, ...], dict[str, Drawing]]:
    sections: list[Section] = []
    drawings: dict[str, Drawing] = {}
    for draft in drafts:
        blocks: list[Block] = []
        for block in draft.blocks:
            if isinstance(block, Drawing):
                drawings[block.block.name] = block
                blocks.append(block.block.model_copy(update={"number": len(drawings)}))
            elif isinstance(block, TableBlock):
                tables += 1
                blocks.append(block.model_copy(update={"number": tables}))
            else:
                blocks.append(block)
        sections.append(Section(id=draft.id, title=draft.title, blocks=tuple(blocks)))
    return tuple(sections), drawings


def _results(evidence: Evidence) -> dict[str, Any]:
    return {
        "analysis": evidence.analysis.model_dump(mode="json"),
        "experiments": {name: found.model_dump(mode="json") for name, found in evidence.experiments.items()},
        "changes": {name: [c.model_dump(mode="json") for c in found] for name, found in evidence.changes.items()},
        "domains": [row.model_dump(mode="json") for row in evidence.domains],
        "exits": None
        if evidence.exits is None
        else {
            "metrics": list(evidence.exits.metrics),
            "configurations": [c.model_dump(mode="json") for c in evidence.exits.configurations],
            "oracle": [o.model_dump(mode="json") for o in evidence.exits.oracle],
        },
        "impossible": evidence.impossible,
    }
