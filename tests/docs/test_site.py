"""The documentation site builds without a warning, loads nothing from elsewhere, and opens from disk."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from passkwh.registry import GROUPS
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is not installed: the extra docs"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Anchors that lead nowhere, pages outside the menu and broken links are warnings, so errors."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500)
    assert built.returncode == 0, built.stderr[-4000:]
    return folder


def pages_of(site: Path) -> list[Path]:
    """The site's own pages: the gallery's board has tests of its own, and links of 404.html start at a site's root."""
    return [page for page in sorted(site.rglob("*.html")) if page.name != "404.html" and "board" not in page.parts]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"", text)
        for link in re.findall(r"<link\b[^>]*>", text):
            if re.search(r"rel=\"?(?:stylesheet|icon|preload|preconnect)", link):
                loaded += re.findall(r"href=\"([^\"]+)\"", link)
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page.name
        assert "<!-- made:" not in text, f"{page.name}: what is made of the code was not put in"


def test_links_between_files_of_the_site_lead_somewhere(site: Path) -> None:
    for page in pages_of(site):
        for target in re.findall(r"(?:href|src)=\"([^\"#?]+)", page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(site)} links {target}"


def test_the_reference_has_every_command_and_member(site: Path) -> None:
    from typer.main import get_command

    from passkwh.cli import main as program

    program._add_commands()
    root: Any = get_command(program.app)
    text = (site / "reference" / "command-line.html").read_text("utf-8")
    for name, command in root.commands.items():
        for sub, leaf in getattr(command, "commands", {"": command}).items():
            assert f'id="bench-{name}{"-" * bool(sub)}{sub}"' in text
            for parameter in leaf.params:
                longest = max(parameter.opts, key=len)
                assert parameter.param_type_name == "argument" or longest in text, (name, sub, longest)
    text = (site / "reference" / "registries.html").read_text("utf-8")
    for registry in GROUPS:
        for name in registry._built_in:
            assert f"<code>{name}</code>" in text


def test_search_finds_a_word_when_opened_from_disk(site: Path, browser: Any) -> None:
    page = browser.new_context().new_page()
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if request.url.startswith("http") else None)
    page.goto((site / "index.html").as_uri())
    page.fill("input[data-md-component=search-query]", "idle power")
    found = page.wait_for_selector(".md-search-result__item", state="attached")
    assert "idle power" in found.text_content().lower()
    assert elsewhere == []


def test_no_page_is_wider_than_a_phone(site: Path, browser: Any) -> None:
    page = browser.new_context(viewport={"width": 375, "height": 800}).new_page()
    for file in pages_of(site):
        page.goto(file.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{file.relative_to(site)} is {wide} px wider than the screen"
