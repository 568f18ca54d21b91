"""J/token against latency: the browser finds what the analysis finds, for each kind of energy by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passkwh.analysis.deadline import COST, DEADLINE, LATENCIES, cheapest_within, within_each
from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.cells import number
from passkwh.reports.leaderboard.rows import Row
from tests.leaderboard.conftest import make_pack
from tests.leaderboard.reader import THESIS, Reader

GRID = [(0.4, 340.0), (0.7, 170.0), (1.0, 100.0), (1.3, 75.0), (1.6, 200.0)]
"""Pace and power of runs: from fast and dear to slow and cheap, and one that is slow and dear."""


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Measured configurations, and estimated ones that would be cheaper and faster than all of them."""
    place = tmp_path_factory.mktemp("timed")
    common: dict[str, Any] = {"tasks": 24, "batch_size": 1}
    packs = [
        make_pack(place, f"m{i}", model=f"lab/M{i}-1B", pace=pace, work_w=watts, seed=i, **common)
        for i, (pace, watts) in enumerate(GRID)
    ]
    packs += [
        make_pack(
            place,
            f"e{i}",
            model=f"lab/E{i}-1B",
            pace=pace / 4,
            work_w=watts / 2,
            seed=10 + i,
            provenance="estimated",
            **common,
        )
        for i, (pace, watts) in enumerate(GRID[:2])
    ]
    return build(packs, place / "site", place / "cache", title="t", published=True)


@pytest.fixture
def timed_reader(browser: Any, timed: Site) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    reader = Reader(context, timed)
    yield reader
    assert reader.complaints == []
    context.close()


def rows(site: Site, kind: str) -> list[Row]:
    return [row for row in site.rows if row.runs and row.provenance == kind]


def columns(some: list[Row], latency: str = DEADLINE) -> tuple[list[float], list[float]]:
    costs, latencies_s = ([row.measures[name].value for row in some] for name in (COST, latency))
    return costs, latencies_s


def opened(reader: Reader, address: str) -> Any:
    reader.page.goto("about:blank")
    page = reader.open(f"index.html#{address}")
    page.wait_for_selector("#board-table")
    return page


def winners(page: Any) -> dict[str, str | None]:
    found: dict[str, str | None] = dict(
        page.eval_on_selector_all("#deadline-winners p", "all => all.map(p => [p.dataset.kind, p.dataset.id ?? null])")
    )
    return found


def test_the_browser_finds_what_the_analysis_finds(timed_reader: Reader, timed: Site) -> None:
    mine = rows(timed, "measured")
    for latency in LATENCIES:
        costs, latencies_s = columns(mine, latency)
        for deadline_s in (*(round(value * 1.01, 4) for value in latencies_s), 0.0001, 999999):
            page = opened(timed_reader, f"deadline={deadline_s}&lat={latency}")
            place = cheapest_within(costs, latencies_s, deadline_s)
            assert winners(page) == {"measured": None if place is None else mine[place].id}, (latency, deadline_s)
            listed = page.eval_on_selector_all("#plane-table tbody tr", "all => all.map(row => row.dataset.id)")
            assert listed == [mine[i].id for i in within_each(costs, latencies_s)]


def test_kinds_of_energy_are_never_mixed(timed_reader: Reader, timed: Site) -> None:
    """Asked for together, each kind has its own winner and says which it is."""
    deadline_s = max(columns(rows(timed, "measured"))[1])
    page = opened(timed_reader, f"across=provenance,hardware&deadline={deadline_s + 0.01:.2f}")
    expected = {}
    for kind in ("measured", "estimated"):
        mine = rows(timed, kind)
        place = cheapest_within(*columns(mine), deadline_s + 0.01)
        assert place is not None
        expected[kind] = mine[place].id
    assert winners(page) == expected
    text = page.inner_text("#deadline-winners")
    assert "Cheapest measured" in text
    assert "Cheapest estimated" in text
    kinds = page.locator("#plane-table tbody td:last-child").all_text_contents()
    assert set(kinds) == {"measured", "estimated"}
    assert page.locator("#plane path.front").count() == 3  # one for each kind, and the legend's


def test_a_deadline_is_typed_and_kept_in_the_address(timed_reader: Reader, timed: Site) -> None:
    page = opened(timed_reader, "")
    assert page.locator("#plane").get_attribute("open") is None
    page.focus("#plane summary")
    page.keyboard.press("Enter")
    page.fill("#deadline", "2,5")
    page.keyboard.press("Tab")
    assert "deadline=2.5" in page.evaluate("location.hash")
    assert page.input_value("#deadline") == "2.5"
    first = winners(page)
    page.select_option("#plane-latency", "ttft_p90_s")
    assert "lat=ttft_p90_s" in page.evaluate("location.hash")
    page.select_option("#plane-latency", DEADLINE)
    address = page.evaluate("location.hash.slice(1)")
    assert winners(opened(timed_reader, address)) == first
    page.fill("#deadline", "soon")
    page.keyboard.press("Tab")
    assert page.input_value("#deadline") == ""
    assert "deadline" not in page.evaluate("location.hash")
    assert page.locator("#deadline-winners p").count() == 0


def test_what_is_typed_before_the_first_drawing_is_kept(timed_reader: Reader) -> None:
    page = opened(timed_reader, "")
    page.evaluate("document.querySelector('#plane').open = true; document.querySelector('#deadline').value = '2.5'")
    page.wait_for_selector("#plane svg[role=img] .mark")
    assert page.input_value("#deadline") == "2.5"


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "-1",
        "0",
        "1e9",
        "1e999",
        "Infinity",
        "0x10",
        "<b>1</b>",
        "__proto__",
        "1;2",
        "",
        "%00",
        "9999999",
        "1.0000000001",
        " 1",
    ],
)
def test_a_hostile_deadline_is_none(timed_reader: Reader, text: str) -> None:
    page = opened(timed_reader, f"deadline={text}&lat=__proto__")
    page.evaluate("document.getElementById('plane').open = true")
    page.wait_for_selector("#plane svg[role=img] .mark")
    assert page.input_value("#deadline") == ""
    assert page.input_value("#plane-latency") == DEADLINE
    assert page.locator("#deadline-winners p").count() == 0
    shown = page.inner_text("#plane") + page.inner_html("#plane")
    assert not {"NaN", "undefined", "Infinity"} & set(re.split(r"[^A-Za-z]+", shown))


def test_rows_without_latencies_have_no_plane(timed_reader: Reader) -> None:
    page = opened(timed_reader, f"group={THESIS}&deadline=3")
    assert page.locator("#plane").is_hidden()


def test_where_requests_were_in_flight_it_is_open_and_plain_pages_have_the_list(
    browser: Any, timed: Site, packs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [row.model_copy(update={"concurrency": 4, "page": False}) for row in rows(timed, "measured")]
    monkeypatch.setattr("passkwh.reports.leaderboard.build.configurations", lambda *_: [(row, True) for row in mine])
    site = build(packs[:1], tmp_path / "site", tmp_path / "cache", title="t", published=False)
    plain = browser.new_context(java_script_enabled=False).new_page()
    for place in ("index.html", "table.html"):
        plain.goto(f"file://{site.index.parent}/{place}")
        costs, latencies_s = columns(mine)
        assert plain.locator("ul.within li").all_text_contents() == [
            f"{number(latencies_s[i])} s: {mine[i].label}, {number(costs[i])} J/token"
            for i in within_each(costs, latencies_s)
        ]
        assert "energy measured" in plain.locator("p.note:has(+ ul.within)").text_content()
    plain.context.close()
    page = browser.new_context().new_page()
    page.goto(f"file://{site.index}")
    page.wait_for_selector("#plane[open] svg[role=img] .mark")
    page.click("#plane summary")
    page.fill("#search", "M1")
    assert page.locator("#plane").get_attribute("open") is None, "what the reader closed stays closed"
    page.context.close()


def test_a_mark_is_chosen_for_comparison(timed_reader: Reader, timed: Site) -> None:
    page = opened(timed_reader, "deadline=99")
    row = rows(timed, "measured")[0]
    page.locator(f"#plane g[data-id='{row.id}'] .mark").click()
    assert f"with={row.id}" in page.evaluate("location.hash")
    assert "deadline=99" in page.evaluate("location.hash")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_no_serious_barrier(browser: Any, timed: Site, scheme: str) -> None:
    import axe_core_python

    context = browser.new_context(viewport={"width": 375, "height": 800}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(f"file://{timed.index}#across=provenance,hardware&deadline=2")
    page.wait_for_selector("#plane[open] svg[role=img]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.add_script_tag(path=str(Path(axe_core_python.__file__).with_name("axe.min.js")))
    found = page.evaluate("axe.run('#plane')")
    assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
    assert len(found["passes"]) > 5
    context.close()
