"""The built site in Debian's Chromium, from disk: what a reader does, and what a submission must not do."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passkwh.analysis.footprint import grid
from passkwh.analysis.frames import load
from passkwh.analysis.pairs import compare_pairs
from passkwh.analysis.pareto import best_under_budget, cheapest_above_floor, frontier
from passkwh.analysis.pooling import compare
from passkwh.analysis.tasks import task_table
from passkwh.reports.leaderboard.build import Site
from passkwh.reports.leaderboard.rows import Row

THESIS = "thesis.thesis.published"


class Reader:
    """A page, with everything it complained of."""

    def __init__(self, context: Any, site: Site) -> None:
        self.page = context.new_page()
        self.folder = site.index.parent
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, place: str = "index.html") -> Any:
        self.page.goto(f"file://{self.folder}/{place}")
        return self.page

    def ids(self) -> list[str]:
        found: list[str] = self.page.eval_on_selector_all(
            "#board-table tbody tr", "rows => rows.map(r => r.dataset.id)"
        )
        return found

    def rank_among(self, key: str) -> None:
        self.page.select_option("#group", key)


@pytest.fixture
def reader(browser: Any, site: Site) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1366, "height": 900}, accept_downloads=True)
    made = Reader(context, site)
    yield made
    assert made.complaints == []
    assert made.page.evaluate("window.hit") is None  # nothing of a submission has run
    context.close()


def thesis(site: Site) -> list[Row]:
    return [row for row in site.rows if row.tasks_key == "thesis"]


def group_of(row: Row) -> str:
    return f"{row.tasks_key}.{row.hardware_key}.{row.provenance}"


def alphas(site: Site) -> dict[str, Row]:
    return {row.quant: row for row in site.rows if row.model.startswith("Alpha")}


# ---------------------------------------------------------------- the table


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


# ---------------------------------------------------------------- the chart


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


# ---------------------------------------------------------------- comparing


def test_compared_by_the_tests_of_analysis(reader: Reader, site: Site, packs: list[Path]) -> None:
    page = reader.open()
    mine = alphas(site)
    wanted = [mine["none"], mine["gptq-int4"], mine["gptq-int8"]]
    for row in wanted:
        page.check(f"tr[data-id='{row.id}'] input")
    page.wait_for_selector("[data-pair]")
    found = {
        tuple(line.get_attribute("data-pair").split(",")): json.loads(line.get_attribute("data-result"))
        for line in page.locator("[data-pair]").all()
    }
    folder = packs[0].parents[1] / "runs"
    table = task_table(compare(load([folder / name for name in ("plain-r0", "plain-r1", "int4", "int8")])))
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert len(found) == 3
    for (i, j), expected in zip(pairs, compare_pairs(table, pairs, 0.05), strict=True):
        ours = found[wanted[i].id, wanted[j].id]
        assert ours["tasks"] == 60
        assert ours["energy_p"] == pytest.approx(expected.energy.p_value, rel=1e-6)
        assert ours["passing_p"] == pytest.approx(expected.passing.p_value, rel=1e-6)
        assert ours["energy_p_holm"] == pytest.approx(expected.energy_p_holm, rel=1e-6)
        assert ours["passing_p_holm"] == pytest.approx(expected.passing_p_holm, rel=1e-6)
        ratio = expected.energy_ratio
        assert [ours["ratio"][k] for k in ("value", "low", "high")] == pytest.approx(
            [ratio.estimate, ratio.low, ratio.high], rel=1e-9
        )
        assert ours["difference"]["value"] == pytest.approx(expected.accuracy.difference)


STATISTICS = "([name, a, b, level]) => passkwh.stats[name](a, b, level)"


@pytest.mark.parametrize("seed", range(6))
def test_the_browsers_statistics_are_those_of_analysis(reader: Reader, seed: int) -> None:
    import numpy as np

    from passkwh.analysis.effects import geometric_mean_ratio
    from passkwh.analysis.equivalence import tango
    from passkwh.analysis.matched import mcnemar, wilcoxon

    rng = np.random.default_rng(seed)
    n = (7, 12, 30, 51, 400, 1140)[seed]
    a, b = rng.lognormal(3, 0.4, n), rng.lognormal(3.1, 0.4, n)
    if seed in (1, 3):
        a, b = np.round(a / 8), np.round(b / 8) + 1e-9 * 0  # ties and zeros
    first, second = rng.random(n) < 0.6, rng.random(n) < 0.5
    page = reader.open()
    call = lambda *arguments: page.evaluate(STATISTICS, list(arguments))  # noqa: E731
    assert call("wilcoxon", a.tolist(), b.tolist())["p"] == pytest.approx(wilcoxon(a, b).p_value, rel=1e-9)
    assert call("mcnemar", first.tolist(), second.tolist())["p"] == pytest.approx(
        mcnemar(first, second).p_value, rel=1e-9
    )
    ratio = geometric_mean_ratio(a + 1, b + 1, "x", 0.95)
    found = call("energyRatio", (a + 1).tolist(), (b + 1).tolist(), 0.95)
    assert [found["low"], found["high"]] == pytest.approx([ratio.low, ratio.high], rel=1e-9)
    expected = tango(first, second, 0.05, alpha=0.025)
    found = call("passDifference", first.tolist(), second.tolist(), 0.95)
    assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high], abs=1e-9)


def test_published_rows_cannot_be_tested_and_say_so(reader: Reader, site: Site) -> None:
    rows = thesis(site)
    page = reader.open(f"index.html#group={THESIS}&with={rows[0].id},{rows[3].id}")
    assert "published rows come without their tasks" in page.locator("#compare .tests").text_content()
    assert page.locator("#compare table").count() == 1


# ---------------------------------------------------------------- the view in the address


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
    ["#group=nothing&sort=constructor&budget=NaN&with=../../x", "#f.quant=<script>&q=%22%3E<b>", "#pue=-3&grid=XX"],
)
def test_a_broken_address_is_harmless(reader: Reader, address: str) -> None:
    page = reader.open(f"index.html{address}")
    assert page.locator("#board-table thead th").count() > 5
    assert page.locator("b").count() == 0


# ---------------------------------------------------------------- pages and attacks


def test_a_hostile_submission_is_only_text(reader: Reader, site: Site) -> None:
    page = reader.open()
    page.check("#across-tasks")
    (evil,) = [row for row in site.rows if "cmd" in row.model]
    page.hover(f"g[data-id='{evil.id}'] .mark", force=True)
    page.check(f"tr[data-id='{evil.id}'] input")
    page.check(f"tr[data-id='{alphas(site)['none'].id}'] input")
    page.wait_for_timeout(200)
    assert page.locator("img").count() == 0
    assert "<img src=x" in page.locator("#compare").text_content()
    page.click(f"tr[data-id='{evil.id}'] a")
    page.wait_for_selector("h1")
    assert "<img src=x" in page.locator("h1").text_content()
    assert page.locator("img, main script").count() == 0
    assert "<script>window.hit=1</script>" in page.locator("main table").last.text_content()


def test_a_configurations_page_tells_all(reader: Reader, site: Site) -> None:
    row = alphas(site)["gptq-int4"]
    page = reader.open()
    page.click(f"tr[data-id='{row.id}'] a")
    text = page.locator("main").text_content()
    for said in (
        "Synthetic GPU",
        "limit 350 W",
        "idle",
        "measured power (W)",
        "bench run --model lab/Alpha-1.5B-Instruct",
        "By domain",
    ):
        assert said in text
    assert "--quant gptq-int4" in text
    assert page.locator("main table").last.locator("tbody tr").count() == 60
    assert page.locator("svg polyline").count() >= 1
    page.go_back()
    assert reader.ids()


# ---------------------------------------------------------------- everyone can read it


def test_plain_tables_without_scripts(browser: Any, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{site.index}")
    assert page.locator("#plain tbody tr").count() == len(site.rows)
    assert page.locator("#app").is_hidden()
    row = alphas(site)["none"]
    page.click(f"a[href='c/{row.id}.html'] >> nth=0")
    assert page.locator("h1").text_content() == row.label
    page.goto(f"file://{site.index.parent / 'table.html'}")
    assert page.locator("tbody tr").count() == len(site.rows)
    context.close()


def test_the_keyboard_reaches_everything(reader: Reader, site: Site) -> None:
    page = reader.open(f"index.html#group={THESIS}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus(".stage")
    page.keyboard.press("ArrowRight")
    assert page.locator(".tip").is_visible()
    assert "Wh" in page.locator(".chart [aria-live]").text_content()
    page.keyboard.press("Enter")
    assert page.locator("#compare .picked button").count() == 1
    page.focus("[data-sort=energy_kwh]")
    page.keyboard.press("Enter")
    assert page.locator("th:has([data-sort=energy_kwh])").get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.dataset.sort") == "energy_kwh"  # focus stays where it was
    page.focus("#budget")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#budget-winner strong").is_visible()


def test_dark_is_dark_and_remembered(browser: Any, site: Site) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(f"file://{site.index}")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    assert max(int(part) for part in dark[4:-1].split(",")) < 60
    page.click("#theme")
    light = page.evaluate(background)
    assert min(int(part) for part in light[4:-1].split(",")) > 200
    page.reload()
    assert page.evaluate(background) == light
    context.close()


@pytest.mark.parametrize(("place", "width"), [("index.html", 1032), ("table.html", 1032), ("page", 703)])
def test_paper_is_white_and_cuts_nothing_off(browser: Any, site: Site, place: str, width: int) -> None:
    """On a sheet as wide as A4 without its margins: lying for the wide tables, upright for a configuration."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark")
    page = context.new_page()
    path = f"c/{alphas(site)['none'].id}.html" if place == "page" else place
    page.goto(f"file://{site.index.parent}/{path}")
    page.click("#theme")
    page.click("#theme")  # dark by choice, too
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.body).page") == ("wide" if width > 1000 else "auto")
    assert page.locator("header nav").is_hidden()
    context.close()


@pytest.mark.parametrize("place", ["index.html", "table.html", "page"])
def test_a_phone_scrolls_down_only(browser: Any, site: Site, place: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    path = f"c/{alphas(site)['none'].id}.html" if place == "page" else place
    page.goto(f"file://{site.index.parent}/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["index.html", "table.html", "page"])
def test_no_serious_barrier(browser: Any, site: Site, place: str, scheme: str) -> None:
    """axe-core finds nothing serious or critical."""
    import axe_core_python

    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    mine = alphas(site)
    path = f"c/{mine['none'].id}.html" if place == "page" else place
    chosen = f"#with={mine['none'].id},{mine['gptq-int4'].id}&budget=5" if place == "index.html" else ""
    page.goto(f"file://{site.index.parent}/{path}{chosen}")
    if chosen:
        page.wait_for_selector("[data-pair]")
    page.add_script_tag(path=str(Path(axe_core_python.__file__).with_name("axe.min.js")))
    result = page.evaluate("axe.run()")
    serious = [
        (v["id"], v["impact"], [node["html"][:120] for node in v["nodes"][:3]])
        for v in result["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(result["passes"]) > 10
    context.close()
