"""Each number on the page is the one in the JSON, and the JSON's are the analysis's."""

from __future__ import annotations

import csv
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from .conftest import Written, call


class Numbers(HTMLParser):
    """Every ``<data>`` of a page: its full value, its place in the JSON and the text people read."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self._open: tuple[str, str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "data":
            own = dict(attrs)
            self._open, self._text = (own["value"] or "", own["data-at"] or ""), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "data" and self._open:
            self.found.append((*self._open, self._text))
            self._open = None


def numbers(page: str) -> list[tuple[str, str, str]]:
    parser = Numbers()
    parser.feed(page)
    return parser.found


def at(content: Any, pointer: str) -> Any:
    """What a JSON pointer names."""
    for part in pointer.strip("/").split("/"):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def leaves(content: Any, key: str = "") -> int:
    """How many numbers the sections hold that are for reading (a block's own number is not a value)."""
    if isinstance(content, bool) or content is None or isinstance(content, str):
        return 0
    if isinstance(content, int | float):
        return int(key != "number")
    pairs = content.items() if isinstance(content, dict) else ((key, value) for value in content)
    return sum(leaves(value, name) for name, value in pairs)


def read(text: str) -> tuple[float, float]:
    """A number as people read it, and half of its last digit's place."""
    word = text.replace("p = ", "").split()[0].replace(",", "").lstrip("+")
    mantissa, _, exponent = word.partition("e")
    places = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return float(word), 0.5 * 10.0**-places


def test_every_number_of_the_page_is_the_jsons(everything: Written) -> None:
    found = numbers(everything.page)
    stored = json.loads((everything.folder / "report.json").read_text("utf-8"))
    assert {k: everything.content[k] for k in stored} == stored, "--json prints what report.json holds"
    for value, pointer, _ in found:
        assert float(value) == at(stored, pointer), pointer
    assert len({pointer for _, pointer, _ in found}) == len(found)
    assert len(found) == leaves(stored["sections"]) + leaves(stored["subtitle"]), "no number is left out"
    assert len(found) > 1000


def test_what_people_read_is_the_value_rounded(everything: Written) -> None:
    for value, pointer, text in numbers(everything.page):
        if "<" in text:
            assert float(value) < 0.001, (pointer, text)
            continue
        shown, half = read(text)
        assert math.isclose(shown, float(value), rel_tol=1e-12, abs_tol=half * 1.001), (pointer, value, text)


def test_the_report_says_what_the_analysis_says(everything: Written, invented: Path) -> None:
    """Another process of the analysis finds the same: headlines, tests, frontier, experiment."""
    found = call("analyze", invented)
    assert everything.content["results"]["analysis"] == found
    headline = {(i["label"], i["measure"]): i for i in found["intervals"]}
    table = next(t for t in everything.blocks("table") if t["name"] == "results")
    names = [c["name"] for c in table["columns"]]
    scale = 1000.0 if "energy (Wh) ↓" in names else 1.0
    for row in table["rows"]:
        for column, measure, factor in (("pass@1 ↑", "pass_at_1", 1.0), ("J/token ↓", "joules_per_token", 1.0),
                                        (names[2], "energy_kwh", scale)):  # fmt: skip
            cell, truth = row[names.index(column)], headline[row[0], measure]
            for part, name in (("value", "estimate"), ("low", "low"), ("high", "high")):
                assert cell[part] == pytest.approx(truth[name] * factor, rel=1e-12)
    assert call("analyze", invented, "--experiment", "gptq") == everything.content["results"]["experiments"]["gptq"]


def test_tables_as_files_hold_the_same(everything: Written) -> None:
    for block in everything.blocks("table"):
        tex = (everything.folder / "tables" / f"{block['name']}.tex").read_text("utf-8")
        assert r"\toprule" in tex
        assert tex.count(r"\begin{tabular}") == 1
        with (everything.folder / "tables" / f"{block['name']}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        flat = [[v for cell in row for v in _cells(cell)] for row in block["rows"]]
        assert len(rows) == len(flat) + 1
        for line, row in zip(rows[1:], flat, strict=True):
            for text, value in zip(line, row, strict=True):
                if value is None:
                    assert text == ""
                elif isinstance(value, str):
                    assert text.removeprefix("'") == value
                else:
                    assert float(text) == value


def _cells(cell: Any) -> list[Any]:
    return [cell["value"], cell["low"], cell["high"]] if isinstance(cell, dict) else [cell]
