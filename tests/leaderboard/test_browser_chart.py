"""The chart of energy against accuracy in the browser: frontier, budget, names, axes, zoom."""

from __future__ import annotations

import pytest

from passkwh.analysis.pareto import best_under_budget, cheapest_above_floor, frontier
from passkwh.reports.leaderboard.build import Site
from tests.leaderboard.reader import THESIS, Reader, alphas, group_of, thesis


@pytest.mark.parametrize("key", [THESIS, "green-code-java.green-code.published", "measured"])
def test_the_frontier_is_the_one_of_analysis(reader: Reader, site: Site, key: str) -> None:
    page = reader.open()
    if key == "measured":
        rows = list(alphas(site).values())
    else:
        reader.rank_among(key)
        rows = [row for row in site.rows if group_of(row) == key]
    accuracy = "codebleu" if key.startswith("green") else "pass_at_1"
    points = [(row.measures["energy_kwh"].value, row.measures[accuracy].value) for row in rows]
    expected = {row.id for row, on in zip(rows, frontier(points, ("min", "max")), strict=True) if on}
    shown = page.eval_on_selector_all("g[data-frontier='1']", "marks => marks.map(m => m.dataset.id)")
    assert set(shown) == expected
    assert page.locator("g[data-frontier]").count() == len(rows)
    assert page.locator(".front").count() >= 1


def test_budget_and_floor_name_the_winners_of_analysis(reader: Reader, site: Site) -> None:
    page = reader.open(f"index.html#group={THESIS}&budget=300&floor=0.4")
    rows = thesis(site)
    energy = [row.measures["energy_kwh"].value for row in rows]
    rate = [row.measures["pass_at_1"].value for row in rows]
    best, cheapest = best_under_budget(rate, energy, 0.3), cheapest_above_floor(rate, energy, 0.4)
    assert best is not None
    assert cheapest is not None
    assert page.locator("#budget-winner strong").text_content() == rows[best].label
    assert page.locator("#floor-winner strong").text_content() == rows[cheapest].label
    page.locator("#budget").fill("0")
    assert "Wh" in page.locator("output[for=budget]").text_content()
    smallest = best_under_budget(rate, energy, min(energy))
    assert smallest is not None
    assert page.locator("#budget-winner strong").text_content() == rows[smallest].label
    page.locator("#budget").fill("1000")
    assert page.locator("output[for=budget]").text_content() == "no limit"


@pytest.mark.parametrize(("width", "least"), [(1366, 8), (390, 3)])
def test_names_in_the_chart_cover_no_point_and_no_name(reader: Reader, width: int, least: int) -> None:
    page = reader.open(f"index.html#group={THESIS}")
    page.set_viewport_size({"width": width, "height": 900})
    for search in ("table 5.40", "", "instruct"):
        page.fill("#search", search)
        corners = "found => found.map(e => (b => [b.left, b.top, b.right, b.bottom])(e.getBoundingClientRect()))"
        names = page.eval_on_selector_all(".names text", corners)
        points = page.eval_on_selector_all("g[data-frontier] .mark", corners)
        assert len(points) >= 10
        assert len(names) >= least
        for i, name in enumerate(names):
            for other in [*names[:i], *points]:
                apart = name[2] <= other[0] or other[2] <= name[0] or name[3] <= other[1] or other[3] <= name[1]
                assert apart, (search, name, other)


def test_the_axis_says_what_kind_of_energy_it_shows(reader: Reader) -> None:
    page = reader.open()
    title = page.locator(".axis .title").first
    assert title.text_content().startswith("measured energy of the run, Wh")
    page.check("#across-provenance")
    page.check("#across-hardware")
    assert title.text_content().startswith("estimated or measured energy")
    reader.rank_among(THESIS)
    assert "published energy" in title.text_content()


def test_hover_click_zoom_and_reset(reader: Reader, site: Site) -> None:
    page = reader.open(f"index.html#group={THESIS}")
    target = page.locator("g[data-frontier='1'] .mark").first
    box = target.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator(".tip")
    assert tip.is_visible()
    assert "pass@1" in tip.text_content()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#compare .picked button").count() == 1
    before = page.locator(".axis").text_content()
    page.click("[data-zoom=in]")
    assert page.locator(".axis").text_content() != before
    page.click("[data-zoom=reset]")
    assert page.locator(".axis").text_content() == before
    stage = page.locator(".stage svg").bounding_box()
    page.mouse.move(stage["x"] + 150, stage["y"] + 100)
    page.mouse.down()
    page.mouse.move(stage["x"] + 400, stage["y"] + 250, steps=4)
    page.mouse.up()
    assert page.locator(".axis").text_content() != before
    assert "higher is better" in before
    assert "lower is better" in before
    assert "Wh" in before
