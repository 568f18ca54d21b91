"""Outlines: the short page from the same sections, sections of other packages, and what cannot be made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from passkwh.analysis.footprint import grid
from passkwh.analysis.frames import load
from passkwh.errors import UsageError
from passkwh.measures import MEASURES
from passkwh.registry import REPORT_SECTIONS, register
from passkwh.reports.document.build import assemble, sections_of, write
from passkwh.reports.document.content import NotAvailable, Text
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import OUTLINES, Draft, Drawing, FunctionSection
from passkwh.reports.figures.plane import energy_accuracy

from .conftest import call
from .test_report_numbers import numbers
from .test_report_page import Page


@pytest.fixture
def added() -> Iterator[list[str]]:
    """Sections that a test registers, by name; they go when it ends."""
    names: list[str] = []
    yield names
    for name in names:
        REPORT_SECTIONS._added.pop(name, None)


def test_every_section_of_ours_is_in_an_outline_and_says_what_it_shows() -> None:
    for name in REPORT_SECTIONS.names():
        section = REPORT_SECTIONS.get(name)
        assert section.id == name
        assert section.summary
        assert section.title
        assert section.outlines.keys() <= set(OUTLINES)
    assert [s.id for s in sections_of("short")] == [
        "summary",
        "results",
        "thinking",
        "latency",
        "power",
        "measured",
        "footprint",
    ]
    assert [s.id for s in sections_of("exits")] == ["early-exit"]


def test_carbon_and_cost_stand_where_a_country_or_a_price_is_given(invented: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    call("report", invented, "--out", page)
    assert "Carbon and cost" not in page.read_text("utf-8")
    call("report", invented, "--region", "NLD", "--pue", "1.5", "--price", "0.25", "--out", page)
    text = page.read_text("utf-8")
    section = text[text.index('id="footprint"') :]
    shown = sorted({float(value) for value, _, _ in numbers(section)})
    energies = [run.summary.energy_kwh for run in load([invented]).runs]
    known = [energy for energy in energies if energy is not None]
    assert known
    for factor in (1.5 * grid("NLD").gco2e_per_kwh, 1.5 * 0.25):
        for energy in known:
            assert any(value == pytest.approx(energy * factor) for value in shown)
    assert "Estimated from energy: PUE 1.5" in section
    assert "Netherlands" in section


def test_the_short_page_shows_each_run_and_runs_nothing(invented: Path, tmp_path: Path) -> None:
    said = call("report", invented, "--out", tmp_path / "page.html")
    assert [Path(run).name for run in said["runs"]] == [f"0{i}-r0" for i in range(7)]
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert not {"script", "iframe", "img", "link"} & {tag for tag, _ in page.tags}
    assert any("default-src 'none'" in own.get("content", "") for _, own in page.tags)
    links = [own["href"] for tag, own in page.tags if tag == "a"]
    assert links
    assert all(link.startswith("#") for link in links), "there are no files beside the page"
    assert "solves the most tasks per kilowatt-hour" in text
    assert text.count("<svg ") == 2
    shown = {float(value) for value, _, _ in numbers(text)}
    for run in load([invented]).runs:
        assert str(run.path) in text
        for name in ("pass_at_1", "pass_at_kwh", "solved_per_kwh", "joules_per_token", "tokens_per_s"):
            assert MEASURES[name].value(run.summary) in shown, (run.path, name)


def test_a_section_of_another_package_comes_after_ours_in_the_outlines_it_names(
    invented: Path, tmp_path: Path, added: list[str]
) -> None:
    def build(evidence: Evidence) -> Draft:
        return Draft((Text(sentence=(f"{len(evidence.labels)} runs <b>were</b> seen.",)),))

    register("report_sections", "mine", FunctionSection("mine", "Mine", "counts runs", {"short": 1}, build))
    added.append("mine")
    assert [s.id for s in sections_of("short")][-1] == "mine"
    assert "mine" not in [s.id for s in sections_of("all")]
    write([invented], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "7 runs &lt;b&gt;were&lt;/b&gt; seen." in text
    assert text.index('<section id="measured">') < text.index('<section id="mine">')


def test_what_cannot_be_made_is_a_sentence_and_not_an_abort(invented: Path, tmp_path: Path, added: list[str]) -> None:
    def refuses(evidence: Evidence) -> Draft:
        raise UsageError("it needs a barometer")

    def broken(evidence: Evidence) -> Draft:
        drawing = energy_accuracy(evidence)
        assert isinstance(drawing, Drawing)
        return Draft((Drawing(drawing.block, {"mark": {"type": "no such mark"}}, drawing.data),))

    for name, build in (("refuses", refuses), ("broken", broken)):
        register("report_sections", name, FunctionSection(name, name, name, {"short": 1}, build))
        added.append(name)
    sections = {s.id: s for s in assemble([("", Evidence(load([invented / "00-r0"])))]).report.sections}
    assert sections["refuses"].blocks == (NotAvailable(what="refuses", reason="it needs a barometer"),)
    (block,) = sections["broken"].blocks
    assert isinstance(block, NotAvailable)
    assert "the chart could not be drawn" in block.reason


def test_frames_that_were_read_are_reported_as_folders_are(invented: Path, tmp_path: Path) -> None:
    written = write(load([invented / "00-r0", invented / "01-r0"]), tmp_path / "all", "all")
    assert written.files[0] == tmp_path / "all" / "report.html"
    stored = json.loads((tmp_path / "all" / "report.json").read_text("utf-8"))
    assert stored["outline"] == "all"
    assert {k: written.content[k] for k in stored} == stored
