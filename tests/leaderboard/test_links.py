"""Addresses that last: of configurations and of tasks, and what is said where one leads to nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from passkwh.errors import UsageError
from passkwh.harness.runs import labels
from passkwh.records import Spec
from passkwh.reports.leaderboard.addresses import board_url
from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.detail import task_anchor
from passkwh.reports.leaderboard.ingest import inspect
from passkwh.reports.leaderboard.rows import address
from passkwh.reports.leaderboard.workers import Workers
from tests.leaderboard.reader import Reader, alphas


def boards(packs: list[Path], place: Path) -> Site:
    return build(packs, place / "site", place / "cache", title="t", published=False)


def test_an_address_outlives_other_packs_and_repeats(packs: list[Path], site: Site, tmp_path: Path) -> None:
    first, repeat, int4 = packs[:3]
    ids = []
    for some in ([first], [repeat], [first, repeat], [int4, first], packs):
        (row,) = [
            row for row in boards(some, tmp_path).rows if (row.model, row.quant) == ("Alpha-1.5B-Instruct", "none")
        ]
        ids.append(row.id)
        assert (tmp_path / "site" / "c" / f"{row.id}.html").exists()
    assert set(ids) == {alphas(site)["none"].id}
    assert len({row.id for row in site.rows}) == len(site.rows)
    assert all(re.fullmatch("[0-9a-f]{16}", row.id) for row in site.rows)


def test_tables_are_of_the_packs_and_not_of_the_address(packs: list[Path], tmp_path: Path) -> None:
    """A repeat keeps the address and changes the figures: nothing that was kept before may stand there."""
    (one,) = boards(packs[:1], tmp_path).rows
    (two,) = boards(packs[:2], tmp_path).rows
    assert (one.id, one.runs, two.runs) == (two.id, 1, 2)
    assert one.measures["pass_at_1"] != two.measures["pass_at_1"]
    (again,) = boards(packs[:1], tmp_path).rows
    assert again == one


@pytest.mark.parametrize(
    ("name", "anchor"),
    [
        ("BigCodeBench/7", "task:BigCodeBench/7"),
        ("two words", "task:[0-9a-f]{16}"),
        ('"><script>', "task:[0-9a-f]{16}"),
        ("", "task:[0-9a-f]{16}"),
        ("x" * 101, "task:[0-9a-f]{16}"),
        ("a\u202eb", "task:[0-9a-f]{16}"),
    ],
)
def test_a_task_stands_where_its_name_says(name: str, anchor: str) -> None:
    assert re.fullmatch(anchor, task_anchor(name))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://lab.example/board/", "https://lab.example/board"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("", ""),
    ],
)
def test_the_address_of_a_board(given: str, kept: str) -> None:
    assert board_url(given) == kept


@pytest.mark.parametrize(
    "given",
    ["javascript:alert(1)", "lab.example", "https://lab.example/?a=1", "https://lab.example/#x", "https://a b/", "https://x/%7B",
     'https://x/"><script>', "https://x/}\n@misc{y,", "https://", "https://user:secret@x/"],
)  # fmt: skip
def test_an_address_that_would_need_escapes_is_none(given: str) -> None:
    with pytest.raises(UsageError, match="--url"):
        board_url(given)


def test_a_tasks_address_leads_to_its_row(reader: Reader, site: Site) -> None:
    row = alphas(site)["gptq-int4"]
    page = reader.open(f"c/{row.id}.html")
    assert page.locator("#gone").is_hidden()
    page.click("tr[id='task:BigCodeBench/7'] a")
    target = page.locator("tr:target")
    assert target.locator("td").first.text_content() == "BigCodeBench/7"
    address = page.evaluate("location.href")
    other = Reader(page.context, site)
    other.page.goto(address)
    assert other.page.locator("tr:target td").first.text_content() == "BigCodeBench/7"
    assert other.page.locator("tr:target").bounding_box()["y"] < 900
    page.goto(address.replace("%2F7", "%2F99999"))
    assert "none of this configuration's" in page.locator("#gone").text_content()
    page.goto(f"{address.partition('#')[0]}#%E0%A4%A")
    assert page.locator("#gone").is_hidden()


def test_without_scripts_a_tasks_address_leads_to_its_row(browser: Any, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{site.index.parent}/c/{alphas(site)['none'].id}.html#task:BigCodeBench/9")
    assert page.locator("tr:target td").first.text_content() == "BigCodeBench/9"
    assert page.locator("button:visible").count() == 0
    context.close()


def test_a_link_is_copied(browser: Any, site: Site) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"file://{site.index.parent}/c/{alphas(site)['none'].id}.html#task:BigCodeBench/9")
    page.focus("[data-copy=address]")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-copy=address]:text-is('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.evaluate("location.href")
    page.goto(f"file://{site.index}#q=alpha")
    page.click("#copy-view")
    page.wait_for_selector("#copy-view:text-is('Copied')")
    assert page.evaluate("navigator.clipboard.readText()").endswith("index.html#q=alpha")
    context.close()


def test_a_configuration_that_is_gone_is_said_to_be(reader: Reader, site: Site) -> None:
    mine = alphas(site)["none"].id
    page = reader.open(f"index.html#with={mine},0123456789abcdef")
    assert "not on this board" in page.locator("#gone-rows").text_content()
    assert page.locator("#compare .picked button").count() == 1
    for harmless in (f"with={mine}", "with=../../x,<b>,__proto__"):
        page.goto("about:blank")
        page = reader.open(f"index.html#{harmless}")
        assert page.locator("#gone-rows").is_hidden()


@pytest.mark.parametrize(("url", "root"), [("", "../"), ("https://lab.example/board", "https://lab.example/board/")])
def test_a_host_has_a_page_for_what_is_gone(packs: list[Path], tmp_path: Path, url: str, root: str) -> None:
    build(packs[2:3], tmp_path / "site", tmp_path / "cache", title="t", published=False, url=url)
    page = (tmp_path / "site" / "404.html").read_text()
    assert "not on the board" in page
    assert set(re.findall(r'(?:href|src)="([^#"]*)"', page)) == {
        f"{root}{name}"
        for name in ("index.html", "table.html", "style.css", "theme.js", *(["feed.xml"] if url else []))
    }


def test_a_host_shows_it_as_a_page_of_the_board(browser: Any, packs: list[Path], tmp_path: Path) -> None:
    """Served in a folder of a host, as GitHub Pages does, at whatever depth nothing is."""

    class Host(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if Path(self.translate_path(self.path)).is_file():
                super().do_GET()
                return
            content = (tmp_path / "host/board/404.html").read_bytes()
            self.send_response(404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Host, directory=str(tmp_path / "host")))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/board"
    build(packs[2:3], tmp_path / "host/board", tmp_path / "cache", title="t", published=False, url=url)
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    for place in ("c/0123456789abcdef.html", "nothing", "a/b/c"):
        assert page.goto(f"{url}/{place}").status == 404
        assert "not on the board" in page.inner_text("h1")
        assert page.evaluate("getComputedStyle(document.querySelector('header.top')).borderBottomStyle") == "solid"
        assert page.locator("#theme").is_visible(), "scripts are found, too"
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.click("main a")
    assert page.url == f"{url}/index.html"
    context.close()
    server.shutdown()
    server.server_close()


def test_an_address_does_not_change_when_specs_have_more_to_say(packs: list[Path], tmp_path: Path) -> None:
    """A field that is added to specs has a default, and what is not asked for is no part of a configuration's name."""
    with Workers() as workers:
        (pack,) = inspect(packs[:1], Cache(tmp_path), workers)
    assert pack.run
    spec = pack.run.manifest.spec

    def address_of(**asked: Any) -> str:
        assert pack.run
        manifest = pack.run.manifest.model_copy(update={"spec": spec.model_copy(update=asked)})
        return address(replace(pack.run, manifest=manifest))

    plain = address_of()
    assert address_of(repeat=7, seed=3) == plain
    for asked in ({"lora": "x"}, {"exit": "fixed:3"}, {"thinking": "on"}, {"batch_size": 7}, {"system": ""}):
        assert address_of(**asked) != plain, asked
    names = {
        name: field for name, field in Spec.model_fields.items() if name not in spec.model_dump(exclude_defaults=True)
    }
    assert len(names) > 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "NOT_CONFIGURATION", labels.NOT_CONFIGURATION | names.keys())
        assert address_of() == plain
