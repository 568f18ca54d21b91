"""Every page for everyone: hostile texts, no scripts, keyboard, dark, paper, phone, and what axe-core finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from passkwh.reports.leaderboard.build import Site
from tests.leaderboard.reader import THESIS, Reader, alphas


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
