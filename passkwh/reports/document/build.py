"""A report from runs: which sections there are, in which order, with numbered tables and figures; then its files.

``write`` is the whole way: ``bench report``, ``bench exits --out`` and the Python interface call it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from passkwh import __version__
from passkwh.adapters.early_exit.training.log import TrainingLog
from passkwh.analysis.comparable_groups import comparable_groups, complete_runs
from passkwh.analysis.conventions import stated
from passkwh.analysis.frames import Frames, load
from passkwh.analysis.overview import AnalysisSettings
from passkwh.analysis.result_tables import analysis_tables
from passkwh.analysis.tables import Table, make_table, to_csv, to_latex
from passkwh.errors import UsageError
from passkwh.harness.runs.files import write_atomic
from passkwh.registry import OURS, REPORT_SECTIONS
from passkwh.reports.document.content import (
    Block,
    Bullets,
    Link,
    NotAvailable,
    Report,
    Section,
    Sentence,
    TableBlock,
    Text,
)
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.page import render
from passkwh.reports.document.section import EXPERIMENTS, OUTLINES, Deferred, Draft, Drawing, ReportSection
from passkwh.reports.document.text import count, sentence
from passkwh.reports.figures.render import Picture, draw

PAGE, CONTENT = "report.html", "report.json"
TITLES = {
    "short": "pass@kWh report", "exits": "Early exit of code models",
    "batch-size": "batch size", "model-size": "model size", "fine-tuning": "fine-tuning",
    "awq": "quantization with AWQ", "gptq": "quantization with GPTQ", "granularity": "task by task",
    "early-exit": "early exit", "all": "all experiments",
}  # fmt: skip


@dataclass
class Assembled:
    """A report with its figures by name: the pictures, and the values that each shows."""

    report: Report
    evidence: tuple[Evidence, ...]
    pictures: dict[str, Picture] = field(default_factory=dict)
    data: dict[str, pd.DataFrame] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What ``report.json`` holds, and the folders of the runs."""
        runs = [str(run.path) for evidence in self.evidence for run in evidence.runs]
        return {**self.report.model_dump(mode="json"), "runs": runs}


@dataclass(frozen=True)
class Written:
    """A report on disk: what ``--json`` prints of it, and its files, the page first."""

    content: dict[str, Any]
    files: list[Path]


def write(
    runs: Sequence[Path] | Frames,
    out: Path,
    outline: str = "short",
    settings: AnalysisSettings | None = None,
    *,
    strict: bool = False,
    metrics: Sequence[str] = (),
    training: Sequence[TrainingLog] = (),
    note: Callable[[str], None] = lambda text: None,
    count: Count = lambda what, done, of: None,
) -> Written:
    """Write the report of runs.

    Args:
        runs: run folders, or folders that hold some (a study is taken apart into runs that can be compared); or runs
            that have been read.
        out: the HTML file for the outline ``short``; a folder, made where missing, for every other.
        outline: short, an experiment, all, or exits.
        settings: of the analysis; its defaults where None.
        strict: refuse runs whose task sets differ.
        metrics: quality that early exit is judged by; the benchmark's usual ones where empty.
        training: trainings whose figures belong beside early exit.
        note: called with what a reader must know beside the report.
        count: told how many runs are read, then how many sections are written.

    Raises:
        UsageError: runs that cannot be read or compared, an outline that does not exist or that these runs do not
            allow, or a place that cannot be written to.
    """
    if outline not in OUTLINES:
        raise UsageError(f"--experiment {outline}: there is none of that name; write one of {', '.join(EXPERIMENTS)}")
    if outline == "short" and out.is_dir():
        raise UsageError(f"--out {out} is a folder: name the HTML file to write")
    if outline != "short" and out.is_file():
        raise UsageError(f"--out {out} is a file: with --experiment, name a folder for the report's files")
    by = (settings or AnalysisSettings()).convention
    groups = _groups(runs, outline, note, by, count)

    def gather(frames: Frames) -> Evidence:
        evidence = Evidence(frames, outline, settings, strict, metrics, training)
        for text in evidence.notes:
            note(f"note: {text}")
        return evidence

    if outline == "short":
        gathered = [(title, gather(load_group())) for title, _, load_group in groups]
        built = assemble(gathered, count=count)
        return Written({"report": str(out), "runs": built.content()["runs"]}, _write_page(built, out))
    if len(groups) == 1:
        built = assemble([("", gather(groups[0][2]()))], count=count)
        return Written(built.content(), write_folder(built, out))
    return _write_parts(groups, gather, outline, out, note, count)


Count = Callable[[str, int, int], None]
"""Is told what is done, how many and of how many."""

Group = tuple[str, tuple[Path, ...], Callable[[], Frames]]
"""Runs that can be compared: what sets them apart, their folders, and how they are read."""


def _groups(
    runs: Sequence[Path] | Frames, outline: str, note: Callable[[str], None], by: str, count: Count
) -> list[Group]:
    if isinstance(runs, Frames):
        return [("", tuple(run.path for run in runs.runs), lambda: runs)]
    if outline == "exits":
        paths, notes = complete_runs(runs)
        titled = [("", tuple(paths))]
    else:
        groups, notes = comparable_groups(runs)
        titled = [(group.title, group.paths) for group in groups]
    for text in notes:
        note(f"note: {text}")
    return [(title, own, partial(load, own, by, partial(count, "read runs"))) for title, own in titled]


# ---------------------------------------------------------------- sections in order, numbered


def sections_of(outline: str) -> list[ReportSection]:
    """The sections of an outline: ours in their order, then those of other packages in theirs.

    Raises:
        UsageError: a package's section cannot be imported, or two have one name.
    """
    placed = []
    for name in REPORT_SECTIONS.names():
        section: ReportSection = REPORT_SECTIONS.get(name)
        if outline in section.outlines:
            placed.append((REPORT_SECTIONS.provider(name) != OURS, section.outlines[outline], name, section))
    return [section for *_, section in sorted(placed, key=lambda entry: entry[:3])]


def assemble(
    groups: Sequence[tuple[str, Evidence]], pictures: bool = True, count: Count = lambda what, done, of: None
) -> Assembled:
    """Put a report together from groups of runs, each with what sets it apart; figures only with ``pictures``.

    ``count`` is told how many sections are written.
    """
    evidences = tuple(evidence for _, evidence in groups)
    first = evidences[0]
    numbering = _Numbering(pictures)
    sections = sections_of(first.outline)
    of = len(sections) * len(groups)
    for place, (title, evidence) in enumerate(groups, start=1):
        for done, section in enumerate(sections, start=len(sections) * (place - 1)):
            count("write sections", done, of)
            numbering.add(section, evidence, title, place)
    count("write sections", of, of)
    name = TITLES[first.outline]
    experiment = first.outline in EXPERIMENTS
    report = Report(
        title=f"Energy and accuracy of code models: {name}" if experiment else name,
        subtitle=_subtitle(evidences),
        outline=first.outline,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        sections=tuple(numbering.sections),
        results=first.results() if len(evidences) == 1 else {},
    )
    return Assembled(report, evidences, numbering.pictures, numbering.data)


def _subtitle(evidences: Sequence[Evidence]) -> Sentence:
    runs = [run for evidence in evidences for run in evidence.runs]
    energy = f"; energy {stated(runs, evidences[0].settings.energy)}"
    if len(evidences) > 1:
        return sentence(
            count(len(runs), "run"), f" of {len(evidences)} kinds (other tasks, or other hardware), compared only "
            "within their kind", energy,
        )  # fmt: skip
    manifest = runs[0].manifest
    gpus = "".join(f", {gpu.name}" for gpu in manifest.host.gpus)
    return sentence(count(len(runs), "run"), f" on {manifest.benchmark.name}, {manifest.host.cpu}{gpus}", energy)


class _Numbering:
    """Sections one after the other, their tables and figures numbered through, with names that are unique."""

    def __init__(self, pictures: bool) -> None:
        self.sections: list[Section] = []
        self.pictures: dict[str, Picture] = {}
        self.data: dict[str, pd.DataFrame] = {}
        self._tables = 0
        self._draws = pictures

    def add(self, section: ReportSection, evidence: Evidence, group: str, place: int) -> None:
        """A section on one group of runs; from the second group on, names end in its place."""
        try:
            draft = section.build(evidence)
        except UsageError as error:
            draft = Draft((NotAvailable(what=section.title, reason=str(error)),))
        if draft is None:
            return
        blocks = (self._block(block, "" if place == 1 else f"_{place}") for block in draft.blocks)
        self.sections.append(
            Section(
                id=section.id if place == 1 else f"{section.id}-{place}",
                title=section.title,
                group=group,
                blocks=tuple(block for block in blocks if block is not None),
            )
        )

    def _block(self, block: Block | Drawing | Deferred, suffix: str) -> Block | None:
        if isinstance(block, Deferred):
            block = block.make(self.sections)
        if isinstance(block, TableBlock):
            self._tables += 1
            return block.model_copy(update={"name": block.name + suffix, "number": self._tables})
        if not isinstance(block, Drawing):
            return block
        if not self._draws:
            return None
        named = block.block.model_copy(update={"name": block.block.name + suffix, "number": len(self.pictures) + 1})
        try:
            self.pictures[named.name] = draw(Drawing(named, block.specification, block.data))
        except ValueError as error:
            reason = f"the chart could not be drawn ({error})"
            return NotAvailable(what=named.title, reason=reason, after=named.after)
        self.data[named.name] = block.data
        return named


# ---------------------------------------------------------------- files


def _write_page(built: Assembled, out: Path) -> list[Path]:
    page = render(built.report, _inline(built), files=False)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, page)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another file") from error
    return [out]


def write_folder(built: Assembled, folder: Path) -> list[Path]:
    """Write a report into ``folder`` (made where missing); returns the files, the page first.

    Raises:
        UsageError: where the folder cannot be written.
    """
    report = built.report
    texts: dict[str, str] = {}
    for table in _tables(built):
        texts[f"tables/{table.name}.csv"] = to_csv(table)
        texts[f"tables/{table.name}.tex"] = to_latex(table)
    for name, picture in built.pictures.items():
        texts[f"figures/{name}.svg"] = picture.svg
        texts[f"figures/{name}.csv"] = to_csv(_data_table(name, built.data[name]))
    try:
        for inside in ("tables", "figures") if texts else ():
            (folder / inside).mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            (folder / path).write_text(text, encoding="utf-8")
        images = [folder / "figures" / f"{name}.png" for name in built.pictures]
        for image, picture in zip(images, built.pictures.values(), strict=True):
            image.write_bytes(picture.png())
        content = json.dumps(report.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
        write_atomic(folder / CONTENT, content + "\n")
        write_atomic(folder / PAGE, render(report, _inline(built)))
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from error
    return [folder / PAGE, folder / CONTENT, *(folder / path for path in texts), *images]


def _inline(built: Assembled) -> dict[str, str]:
    return {name: picture.inline for name, picture in built.pictures.items()}


def _tables(built: Assembled) -> Iterable[Table]:
    """Every table of the page, and those of the analysis that the page leaves out, each once."""
    blocks = [b for section in built.report.sections for b in section.blocks if isinstance(b, TableBlock)]
    yield from (block.plain() for block in blocks)
    shown = {block.name for block in blocks}
    for evidence in built.evidence:
        if evidence.outline in EXPERIMENTS:
            yield from (table for table in analysis_tables(evidence.analysis) if table.name not in shown)


def _data_table(name: str, data: pd.DataFrame) -> Table:
    columns = [(str(column), "number" if data[column].dtype.kind in "if" else "text") for column in data.columns]
    rows = [[None if pd.isna(value) else value for value in row] for row in data.itertuples(index=False)]
    return make_table(name, name, columns, rows)  # type: ignore[arg-type]


# ---------------------------------------------------------------- a study whose runs cannot all be compared


def _write_parts(
    groups: Sequence[Group],
    gather: Callable[[Frames], Evidence],
    outline: str,
    out: Path,
    note: Callable[[str], None],
    progress: Count,
) -> Written:
    """A report of each part of a study, and the page that leads to them."""
    contents: list[dict[str, Any]] = []
    sections: list[Section] = []
    files: list[Path] = []
    for number, (title, paths, load_group) in enumerate(groups, start=1):
        note(f"part {number} of {len(groups)}: {title} ({len(paths)} runs)")
        folder = f"part-{number}"
        try:
            built = assemble([("", gather(load_group()))], count=progress)
        except UsageError as error:  # a part that does not allow the experiment does not keep the others back
            note(f"part {number}: {error}")
            contents.append({"part": title, "runs": [str(path) for path in paths], "error": str(error)})
            blocks: list[Block] = [NotAvailable(what="this part's report", reason=str(error))]
        else:
            written = write_folder(built, out / folder)
            files += written
            contents.append({"part": title, "report": str(written[0]), **built.content()})
            blocks = _summary_of(built.report, f"{folder}/{PAGE}", len(paths))
        sections.append(Section(id=folder, title=title, blocks=tuple(blocks)))
    if not files:
        reason = contents[0]["error"]
        raise UsageError(f"no part of the study allows this report; the first of {len(groups)} says: {reason}")
    total = sum(len(paths) for _, paths, _ in groups)
    index = Report(
        title=f"Energy and accuracy of code models: {TITLES[outline]}",
        subtitle=sentence(
            count(total, "run"), " in ", count(len(groups), "part"),
            ", each with a report of its own; what differs between parts is not compared",
        ),
        outline=outline,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        sections=tuple(sections),
        results={},
    )  # fmt: skip
    return Written({"parts": contents}, write_folder(Assembled(index, ()), out) + files)


def _summary_of(report: Report, page: str, runs: int) -> list[Block]:
    """The summary of a part's report, its links leading into that report."""

    def moved(parts: Sentence) -> Sentence:
        return tuple(
            Link(text=part.text, target=f"{page}{part.target}") if isinstance(part, Link) else part for part in parts
        )

    blocks: list[Block] = []
    for block in next((s.blocks for s in report.sections if s.id == "summary"), ()):
        if isinstance(block, Text):
            block = block.model_copy(update={"sentence": moved(block.sentence)})
        elif isinstance(block, Bullets):
            block = block.model_copy(update={"items": tuple(map(moved, block.items))})
        blocks.append(block)
    whole = sentence([Link(text="The whole report", target=page)], " of ", [count(runs, "run")], ".")
    return [*blocks, Text(sentence=whole)]
