"""A study whose runs cannot all be compared: a report for each part, and one page that leads to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from passkwh import __version__
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import write_atomic
from passkwh.reports.document.assemble import NAMES
from passkwh.reports.document.content import Block, Bullets, Link, Missing, Report, Section, Sentence, Text
from passkwh.reports.document.files import CONTENT, PAGE
from passkwh.reports.document.page import render
from passkwh.reports.document.text import count, sentence


@dataclass(frozen=True)
class PartReport:
    """One part of a study: its report, or why there is none."""

    title: str
    runs: int
    report: Report | None
    reason: str | None = None


def folder_of(number: int) -> str:
    """The folder of a part's report within that of the study; numbers begin at 1."""
    return f"part-{number}"


def write_index(parts: Sequence[PartReport], experiment: str, folder: Path) -> list[Path]:
    """Write a page with the summary of every part into ``folder``, and the same content as JSON.

    Raises:
        UsageError: where the folder cannot be written.
    """
    index = Report(
        title=f"Energy and accuracy of code models: {NAMES[experiment]}",
        subtitle=sentence(
            count(sum(part.runs for part in parts), "run"), " in ", count(len(parts), "part"),
            ", each with a report of its own; what differs between parts is not compared",
        ),
        experiment=experiment,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        sections=tuple(_section(number, part) for number, part in enumerate(parts, start=1)),
        results={},
    )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(index.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
        write_atomic(folder / CONTENT, content + "\n")
        write_atomic(folder / PAGE, render(index, {}))
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from error
    return [folder / PAGE, folder / CONTENT]


def _section(number: int, part: PartReport) -> Section:
    blocks: list[Block]
    if part.report is None:
        blocks = [Missing(what="this part's report", reason=part.reason or "unknown")]
    else:
        page = f"{folder_of(number)}/{PAGE}"
        (summary,) = (section for section in part.report.sections if section.id == "summary")
        blocks = [_moved(block, page) for block in summary.blocks]
        blocks.append(
            Text(
                sentence=sentence([Link(text="The whole report", target=page)], " of ", [count(part.runs, "run")], ".")
            )
        )
    return Section(id=f"part-{number}", title=part.title, blocks=tuple(blocks))


def _moved(block: Block, page: str) -> Block:
    """A block of a part's report, its links leading into that report."""
    if isinstance(block, Text):
        return block.model_copy(update={"sentence": _led(block.sentence, page)})
    if isinstance(block, Bullets):
        return block.model_copy(update={"items": tuple(_led(item, page) for item in block.items)})
    return block


def _led(parts: Sentence, page: str) -> Sentence:
    return tuple(
        Link(text=part.text, target=f"{page}{part.target}") if isinstance(part, Link) else part for part in parts
    )
