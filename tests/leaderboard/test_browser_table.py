"""The table in the browser, from disk: ranking, sorting, filters, downloads, and the view in the address."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from passkwh.analysis.footprint import grid
from passkwh.reports.leaderboard.build import Site
from tests.leaderboard.reader import THESIS, Reader, alphas, group_of, thesis


def test_only_like_is_ranked_with_like_unless_asked(reader: Reader, site: Site) -> None:
    page = reader.open()
    mine = alphas(site)
    assert page.input_value("#group") == group_of(mine["none"])  # the largest measured group comes first
    assert set(reader.ids()) == {row.id for row in mine.values()}
    assert page.locator(".callout").first.is_hidden()
    page.check("#across-hardware")
    assert {r.id for r in site.rows if r.model == "Beta-7B" and r.provenance == "measured"} < set(reader.ids())
    assert "machines" in page.locator(".callout").first.text_content()
    page.check("#across-published")
    tags = page.locator("#board-table .tag.flag").all_text_contents()
    assert "published" in tags
    assert "kinds of energy figure" in page.locator(".callout").first.text_content()


@pytest.mark.parametrize(("column", "sign"), [("pass_at_kwh", -1), ("energy_kwh", 1), ("tokens_per_s", -1)])
def test_sorting_is_that_of_the_figures_and_turns_around(reader: Reader, site: Site, column: str, sign: int) -> None:
    page = reader.open()
    reader.rank_among(THESIS)
    if column != "pass_at_kwh":  # which it is sorted by to begin with
        page.click(f"[data-sort={column}]")
    rows = {row.id: row for row in thesis(site)}
    values = [rows[i].measures[column].value for i in reader.ids()]
    assert len(values) == 49
    assert values == sorted(values, key=lambda v: sign * v)
    assert page.locator(f"th:has([data-sort={column}])").get_attribute("aria-sort") in ("ascending", "descending")
    page.click(f"[data-sort={column}]")
    assert [rows[i].measures[column].value for i in reader.ids()] == values[::-1]
    best = page.locator("#board-table tbody tr").last.locator("td").nth(1).text_content()
    assert best == "1"  # ranks stay with the figures


def test_filter_and_search(reader: Reader, site: Site) -> None:
    page = reader.open()
    reader.rank_among(THESIS)
    page.select_option("#facet-quant", "awq")
    assert set(reader.ids()) == {row.id for row in thesis(site) if row.quant == "awq"}
    page.select_option("#facet-size", "10 B and more")
    assert set(reader.ids()) == {row.id for row in thesis(site) if row.quant == "awq" and "14B" in row.model}
    page.select_option("#facet-quant", "")
    page.select_option("#facet-size", "")
    page.select_option("#facet-batch", "8")
    page.fill("#search", "v2-lite DEEPSEEK")
    (only,) = reader.ids()
    assert next(row for row in thesis(site) if row.id == only).batch_size == 8
    assert page.locator("#count").text_content().startswith("1 of 49")
    page.fill("#search", "no such thing")
    assert reader.ids() == []


def test_carbon_and_cost_follow_region_pue_and_price(reader: Reader, site: Site) -> None:
    page = reader.open()
    reader.rank_among(THESIS)
    page.select_option("#grid", "POL")
    page.fill("#pue", "1.5")
    page.fill("#price", "0.4")
    page.keyboard.press("Tab")
    with page.expect_download() as caught:
        page.click("#download-json")
    rows = {row.id: row for row in thesis(site)}
    for line in json.loads(Path(caught.value.path()).read_text())["rows"]:
        energy_kwh = rows[line["id"]].measures["energy_kwh"].value
        assert line["co2e_g"] == pytest.approx(energy_kwh * 1.5 * grid("POL").gco2e_per_kwh)
        assert line["cost"] == pytest.approx(energy_kwh * 1.5 * 0.4)


def test_the_download_is_what_is_shown_and_no_formula(reader: Reader, site: Site) -> None:
    page = reader.open()
    page.check("#across-tasks")
    page.fill("#search", "cmd")
    (only,) = reader.ids()
    with page.expect_download() as caught:
        page.click("#download-csv")
    (line,) = csv.DictReader(io.StringIO(Path(caught.value.path()).read_text("utf-8")))
    assert line["id"] == only
    assert line["model"].startswith("'=cmd")
    assert float(line["pass_at_kwh"]) == next(r for r in site.rows if r.id == only).measures["pass_at_kwh"].value


def test_a_view_is_an_address(reader: Reader, site: Site) -> None:
    page = reader.open()
    reader.rank_among(THESIS)
    page.select_option("#facet-quant", "gptq-int8")
    page.fill("#search", "qwen")
    page.click("[data-sort=energy_kwh]")
    page.select_option("#grid", "FRA")
    first = reader.ids()
    page.check(f"tr[data-id='{first[0]}'] input")
    address = page.evaluate("location.href")
    other = Reader(page.context, site)
    other.page.goto(address)
    assert other.ids() == first
    assert other.page.input_value("#grid") == "FRA"
    assert other.page.input_value("#facet-quant") == "gptq-int8"
    assert other.page.locator("#compare .picked button").count() == 1
    assert other.complaints == []


@pytest.mark.parametrize(
    "address",
    [
        "#group=nothing&sort=constructor&budget=NaN&with=../../x",
        "#f.quant=<script>&q=%22%3E<b>",
        "#pue=-3&grid=XX",
        "#y=__proto__",
        "#y=toString&sort=__proto__&grid=constructor&columns=__proto__",
        "#budget=1e999&floor=Infinity",
        "#y=%00%1b[31m%e2%80%ae&pue=0x10&price=1e308",
        "#group=__proto__&across=__proto__,constructor&log=__proto__",
        "#f.__proto__=1&with=__proto__,constructor&all&up",
    ],
)
def test_a_broken_address_is_harmless(reader: Reader, address: str) -> None:
    page = reader.open(f"index.html{address}")
    assert page.locator("#board-table thead th").count() > 5
    assert page.locator("b").count() == 0
    shown = page.locator("main").inner_text() + page.inner_html(".stage")
    assert not {"NaN", "undefined", "Infinity", "[object", "function"} & set(re.split(r"[^A-Za-z\[]+", shown))
    if "f." not in address:
        assert page.locator("g[data-id] .mark").count() > 0
