"""Citations: they say what a reader needs to find the run again, and no name of a submission breaks out of them."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.clean import one_line
from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.cite import MOST_SUMS, citation, latex
from passkwh.reports.leaderboard.ingest import inspect
from passkwh.reports.leaderboard.workers import Workers
from tests.leaderboard.conftest import make_pack
from tests.leaderboard.reader import Reader, alphas

READERS = os.environ.get("PASSKWH_BIBTEX_PYTHON")
"""A Python with bibtexparser 2 and pybtex: citations are read by them, too."""
HOSTILE = [
    "plain",
    "50% {open",
    "close} and @misc{stolen, title = {x}}",
    "back\\slash \\input{/etc/passwd}",
    "$x^2_i$ ~ # & \" ' `",
    "two\nlines\r\n% comment",
    "turned \u202e around \u200b",
    "ünïcödé 模型 😀",
    "\\textbackslash{}",
    "trailing\\",
]
NAMES = {
    "textbackslash": "\\", "textbraceleft": "{", "textbraceright": "}", "textasciitilde": "~", "textasciicircum": "^",
}  # fmt: skip


def read_bibtex(text: str) -> tuple[str, dict[str, str]]:
    """Key and fields of an entry, by BibTeX's rules: a value is a word, or what stands between balanced braces."""
    head = re.match(r"@misc\{([^,{}\s]+),", text)
    assert head
    place, fields = head.end(), {}
    while name := re.compile(r"\s*(\w+) = ").match(text, place):
        place = name.end()
        if text[place] == "{":
            end, depth = place + 1, 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            fields[name[1]] = text[place + 1 : end - 1]
        else:
            end = text.index(",", place)
            fields[name[1]] = text[place:end]
        assert text[end] == ","
        place = end + 1
    assert text[place:].strip() == "}", "nothing follows the entry"
    return head[1], fields


def plain(value: str) -> str:
    """What LaTeX prints for a field that has none but the escapes of ours; outer braces keep capitals."""
    value = value[1:-1] if value.startswith("{") and value.endswith("}") else value
    return re.sub(r"\\(text\w+)\{\}|\\([%&#_$])", lambda found: chr(ord(NAMES.get(found[1]) or found[2])), value)


@given(st.text() | st.sampled_from(HOSTILE))
def test_every_text_can_be_read_back(text: str) -> None:
    value = latex(text)
    _, fields = read_bibtex(f"@misc{{key,\n  title = {{{{{value}}}}},\n  note = {{{value}}},\n}}")
    assert plain(fields["title"]) == plain(f"{{{fields['note']}}}") == one_line(text)
    assert not re.search(r"(?<!\\)[%&#_$~^]", value)


@pytest.fixture(scope="module")
def cited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, list[Path]]:
    """A board at an address, of one configuration with a hostile name and its repeat."""
    place = tmp_path_factory.mktemp("cited")
    name = "lab/" + " ".join(HOSTILE).replace("/", "|")
    packs = [make_pack(place, f"run-{i}", model=name, tasks=20, batch_size=2, seed=i, repeat=i) for i in range(2)]
    site = build(
        packs, place / "site", place / "cache", title="The {board} of 100%", published=False,
        url="https://lab.example/board",
    )  # fmt: skip
    return site, packs


def page_of(site: Site) -> str:
    return (site.index.parent / "c" / f"{site.rows[0].id}.html").read_text("utf-8")


def shown(page: str, element: str) -> str:
    found = re.search(rf'id="{element}">(.*?)</', page, re.S)
    assert found
    return html.unescape(found[1])


def test_a_page_says_how_to_cite_it(cited: tuple[Site, list[Path]]) -> None:
    site, packs = cited
    (row,) = site.rows
    key, fields = read_bibtex(shown(page_of(site), "bibtex"))
    assert key == f"passkwh-{row.id}"
    assert plain(fields["title"]) == f"{row.label} on {row.benchmark}"
    assert plain(fields["howpublished"]) == "The {board} of 100%"
    assert (fields["year"], fields["month"], fields["date"]) == ("2026", "jan", "2026-01-01")
    assert fields["version"] == "passkwh 0.1.0"
    assert fields["url"] == f"https://lab.example/board/c/{row.id}.html"
    text = shown(page_of(site), "citation")
    for pack in packs:
        sum_ = hashlib.sha256(pack.read_bytes()).hexdigest()
        assert sum_ in fields["note"]
        assert sum_ in text
    for said in (
        row.label,
        row.hardware,
        "energy measured",
        "2026-01-01",
        "passkwh 0.1.0",
        fields["url"],
        "The {board}",
    ):
        assert said in text


def test_without_an_address_a_citation_names_none(site: Site) -> None:
    row = alphas(site)["none"]
    page = (site.index.parent / "c" / f"{row.id}.html").read_text("utf-8")
    assert "url" not in read_bibtex(shown(page, "bibtex"))[1]
    assert "http" not in shown(page, "citation")


def test_many_packs_are_counted(cited: tuple[Site, list[Path]], tmp_path: Path) -> None:
    from passkwh.reports.leaderboard.cache import Cache

    site, packs = cited
    with Workers() as workers:
        (run, _) = [pack.run for pack in inspect(packs, Cache(tmp_path), workers)]
    assert run
    made = citation(site.rows[0], [run], [f"{i:064x}" for i in range(40)], "t", "")
    assert "and 30 more" in made.text
    assert made.bibtex.count("0" * 60) == MOST_SUMS
    assert len(made.bibtex) < 4000


def test_citations_are_copied(browser: Any, cited: tuple[Site, list[Path]]) -> None:
    site, _ = cited
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    reader = Reader(context, site)
    page = reader.open(f"c/{site.rows[0].id}.html")
    for what in ("bibtex", "citation"):
        page.click(f"[data-copy={what}]")
        page.wait_for_selector(f"[data-copy={what}]:text-is('Copied')")
        assert page.evaluate("navigator.clipboard.readText()") == shown(page_of(site), what)
    assert reader.complaints == []
    context.close()


BY_OTHERS = """
import json, sys
import bibtexparser
from pybtex.database import parse_string
text = sys.stdin.read()
theirs = bibtexparser.parse_string(text)
assert not theirs.failed_blocks and len(theirs.entries) == 1, theirs.failed_blocks
(entry,) = parse_string(text, "bibtex").entries.values()
print(json.dumps([{field.key: field.value for field in theirs.entries[0].fields}, dict(entry.fields)]))
"""


@pytest.mark.skipif(READERS is None, reason="PASSKWH_BIBTEX_PYTHON names no Python with bibtexparser and pybtex")
def test_other_programs_read_the_same(cited: tuple[Site, list[Path]]) -> None:
    """One entry with the same fields, escapes as they are: how far those are undone differs between programs."""
    text = shown(page_of(cited[0]), "bibtex")
    _, ours = read_bibtex(text)
    result = subprocess.run([str(READERS), "-c", BY_OTHERS], input=text, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for theirs in json.loads(result.stdout):
        assert theirs.keys() == ours.keys()
        assert {name: value for name, value in theirs.items() if name not in ("title", "month")} == {
            name: value for name, value in ours.items() if name not in ("title", "month")
        }
        assert theirs["title"] in (ours["title"], ours["title"][1:-1])
        assert plain(theirs["title"]) == f"{cited[0].rows[0].label} on {cited[0].rows[0].benchmark}"
