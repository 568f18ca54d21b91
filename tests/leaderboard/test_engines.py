"""Engine and thinking of a row: in the table, its filters, plain tables, pages and downloads."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.ingest import inspect
from passkwh.reports.leaderboard.page import command
from passkwh.reports.leaderboard.workers import Workers
from tests.leaderboard.conftest import make_pack
from tests.leaderboard.reader import Reader


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Four rows of one group: an engine that differs, thinking that does, and a hostile engine."""
    place = tmp_path_factory.mktemp("mixed")
    common: dict[str, Any] = {"tasks": 12, "batch_size": 3}
    packs = [
        make_pack(place, "plain", model="lab/A-1B", seed=1, **common),
        make_pack(place, "gguf", model="lab/A-1B", engine="llamacpp", seed=2, **common),
        make_pack(place, "on", model="lab/B-1B", engine="vllm", thinking="on", reasoning="switch", seed=3, **common),
        make_pack(place, "auto", model="lab/B-1B", engine="<b>e</b>", reasoning="switch", seed=4, **common),
    ]
    return build(packs, place / "site", place / "cache", title="t", published=False)


@pytest.fixture
def mixed_reader(browser: Any, mixed: Site) -> Any:
    context = browser.new_context(viewport={"width": 1366, "height": 900}, accept_downloads=True)
    reader = Reader(context, mixed)
    yield reader
    assert reader.complaints == []
    context.close()


def by(site: Site, engine: str) -> str:
    (row,) = [row for row in site.rows if row.engine == engine]
    return row.id


def test_rows_say_engine_and_thinking(mixed: Site) -> None:
    assert {(row.engine, row.thinking_mode) for row in mixed.rows} == {
        ("transformers", "none"), ("llamacpp", "none"), ("vllm", "on"), ("<b>e</b>", "auto"),
    }  # fmt: skip
    lines = json.loads((mixed.index.parent / "board.json").read_text())["rows"]
    assert {(line["engine"], line["thinking"]) for line in lines} == {
        (row.engine, row.thinking_mode) for row in mixed.rows
    }
    page = (mixed.index.parent / "c" / f"{by(mixed, 'vllm')}.html").read_text()
    assert "<dt>engine</dt><dd>vllm</dd><dt>thinking</dt><dd>on</dd>" in page


def test_a_page_says_how_to_run_it_again_with_all_that_was_asked(mixed: Site, packs: list[Path]) -> None:
    asked = {
        "revision": "v2", "prompt": "chat", "lora": "lab/add on", "thinking": "on", "system": "Be $short",
        "engine": "vllm", "engine_options": {"seed": 1}, "quant_options": {"group_size": 32},
    }  # fmt: skip
    with Workers() as workers:
        (pack,) = inspect(packs[:1], Cache(mixed.index.parents[1] / "cache"), workers)
    assert pack.run
    manifest = pack.run.manifest
    words = shlex.split(command(manifest.model_copy(update={"spec": manifest.spec.model_copy(update=asked)}), 1))
    for name in ("revision", "prompt", "lora", "thinking", "system", "engine"):
        assert words[words.index(f"--{name}") + 1] == asked[name]
    assert words[words.index("--engine-option") + 1] == "seed=1"
    assert words[words.index("--quant-option") + 1] == "group_size=32"
    plain = shlex.split(command(manifest, 1))
    assert not {"--thinking", "--system", "--lora", "--prompt", "--revision"} & set(plain)


def test_they_are_columns_and_filters(mixed_reader: Reader, mixed: Site) -> None:
    page = mixed_reader.open()
    heads = page.locator("#board-table thead th").all_text_contents()
    assert {"engine", "thinking"} <= {head.strip("▲▼") for head in heads}
    page.select_option("#facet-engine", "vllm")
    assert mixed_reader.ids() == [by(mixed, "vllm")]
    page.select_option("#facet-engine", "")
    page.select_option("#facet-thinking", "none")
    assert set(mixed_reader.ids()) == {by(mixed, "transformers"), by(mixed, "llamacpp")}
    assert "f.thinking=none" in page.evaluate("location.hash")
    page.select_option("#facet-thinking", "")
    page.fill("#search", "llamacpp")
    assert mixed_reader.ids() == [by(mixed, "llamacpp")]
    page.fill("#search", "")
    page.click("[data-sort=engine]")
    assert mixed_reader.ids()[0] == by(mixed, "<b>e</b>")
    assert page.locator("b").count() == 0
    with page.expect_download() as caught:
        page.click("#download-json")
    rows = json.loads(Path(caught.value.path()).read_text())["rows"]
    assert {row["engine"] for row in rows} == {row.engine for row in mixed.rows}


def test_plain_tables_have_them_where_rows_differ(browser: Any, mixed: Site, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{mixed.index}")
    assert "engine" in page.locator("thead th").all_text_contents()
    assert "vllm" in page.locator("tbody td").all_text_contents()
    page.goto(f"file://{site.index}")  # there all ran in one engine
    assert "engine" not in page.locator("thead th").all_text_contents()
    context.close()
