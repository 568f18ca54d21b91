"""The Atom feed: what RFC 4287 asks of it, ids and dates that a build does not change, and hostile names as text."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.clean import clean
from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.feed import MOST_ENTRIES, feed
from passkwh.reports.leaderboard.rows import Row
from tests.conftest import Bench
from tests.leaderboard.reader import alphas

READER = os.environ.get("PASSKWH_FEEDPARSER_PYTHON")
"""A Python with feedparser: the feed is read by it, too."""
ATOM = "{http://www.w3.org/2005/Atom}"
URL = "https://lab.example/board"
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def parsed(text: str) -> ElementTree.Element:
    """The feed, after looking at what RFC 4287 requires: one id, title and date each, an author, absolute links."""
    root = ElementTree.fromstring(text.encode())
    assert root.tag == f"{ATOM}feed"
    assert root.find(f"{ATOM}author/{ATOM}name") is not None
    for element in (root, *root.findall(f"{ATOM}entry")):
        for name in ("id", "title", "updated"):
            assert len(element.findall(f"{ATOM}{name}")) == 1, name
        assert re.fullmatch(RFC3339, text_of(element, "updated"))
        assert text_of(element, "id").startswith(URL)
        links = {(link.get("rel"), link.get("type")): link.get("href") for link in element.findall(f"{ATOM}link")}
        assert len(links) == len(element.findall(f"{ATOM}link")), "no two of one kind"
        assert all(str(link).startswith(URL) for link in links.values())
        assert ("alternate", "text/html") in links
    ids = [text_of(entry, "id") for entry in root.findall(f"{ATOM}entry")]
    assert len(set(ids)) == len(ids)
    return root


def text_of(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{ATOM}{name}") or ""


@pytest.fixture(scope="module")
def fed(packs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("fed")
    return build(packs, place / "site", place / "cache", title="A & B <board>", published=True, url=URL)


def test_every_configuration_has_an_entry(fed: Site) -> None:
    text = (fed.index.parent / "feed.xml").read_text("utf-8")
    root = parsed(text)
    assert text_of(root, "title") == "A & B <board>"
    assert text_of(root, "updated") == "2026-01-01T00:00:00Z"  # of the synthetic runs
    entries = {text_of(entry, "id"): entry for entry in root.findall(f"{ATOM}entry")}
    own = [row for row in fed.rows if row.runs]
    assert set(entries) == {f"{URL}/c/{row.id}.html" for row in own}
    for row in own:
        entry = entries[f"{URL}/c/{row.id}.html"]
        assert text_of(entry, "title") == row.label
        assert f"energy {row.provenance}" in text_of(entry, "summary")
    for page in fed.index.parent.rglob("*.html"):
        assert "feed.xml" in page.read_text("utf-8")


def test_a_feed_is_the_same_whenever_it_is_built(fed: Site, packs: list[Path], tmp_path: Path) -> None:
    again = build(packs[::-1], tmp_path / "s", tmp_path / "c", title="A & B <board>", published=False, url=URL)
    assert (again.index.parent / "feed.xml").read_bytes() == (fed.index.parent / "feed.xml").read_bytes()


def test_without_an_address_there_is_no_feed_and_a_word_why(bench: Bench, packs: list[Path], tmp_path: Path) -> None:
    for url in (URL, ""):
        made = bench(
            "leaderboard", "build", packs[2], "--out", tmp_path / "s", "--cache", tmp_path / "c", "--url", url
        )  # fmt: skip
        assert made.returncode == 0
        assert (tmp_path / "s/feed.xml").exists() is bool(url)
        assert made.stderr.count("no feed.xml") == (not url)
    assert "feed.xml" not in (tmp_path / "s/index.html").read_text()
    refused = bench("leaderboard", "build", packs[2], "--out", tmp_path / "s", "--url", "lab.example")
    assert refused.returncode == 2
    assert "--url" in refused.stderr


@given(st.text(max_size=60))
def test_any_name_is_text(site: Site, name: str) -> None:
    row = alphas(site)["none"].model_copy(update={"model": name, "benchmark": name})
    root = parsed(feed([row], name, URL))
    (entry,) = root.findall(f"{ATOM}entry")
    # An XML reader takes each way to end a line for one.
    assert text_of(root, "title") == clean(name)
    assert text_of(entry, "title") == clean(row.label)


def test_an_empty_board_has_an_empty_feed() -> None:
    assert parsed(feed([], "t", URL)).findall(f"{ATOM}entry") == []


def test_the_latest_runs_come_first_and_the_rest_is_left_out(site: Site) -> None:
    row = alphas(site)["none"]
    rows: list[Row] = [
        row.model_copy(update={"id": f"{i:016x}", "latest": f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00Z"})
        for i in range(MOST_ENTRIES + 50)
    ]
    root = parsed(feed(rows, "t", URL))
    dates = [text_of(entry, "updated") for entry in root.findall(f"{ATOM}entry")]
    assert len(dates) == MOST_ENTRIES
    assert dates == sorted(dates, reverse=True)
    assert dates[0] == rows[-1].latest == text_of(root, "updated")


def test_a_page_says_that_there_is_a_feed(browser: Any, fed: Site) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto(f"file://{fed.index}")
    assert page.locator("nav a[href='feed.xml']").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    context.close()


@pytest.mark.skipif(READER is None, reason="PASSKWH_FEEDPARSER_PYTHON names no Python with feedparser")
def test_another_program_reads_it(fed: Site) -> None:
    program = (
        "import feedparser, json, sys; it = feedparser.parse(sys.stdin.buffer.read()); "
        "print(json.dumps([bool(it.bozo), it.version, [[e.id, e.title, e.updated] for e in it.entries]]))"
    )
    text = (fed.index.parent / "feed.xml").read_bytes()
    result = subprocess.run([str(READER), "-c", program], input=text, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    bozo, version, entries = json.loads(result.stdout)
    assert (bozo, version) == (False, "atom10")
    assert len(entries) == sum(row.runs > 0 for row in fed.rows)
    assert {entry[2] for entry in entries} == {"2026-01-01T00:00:00Z"}
