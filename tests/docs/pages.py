"""What the tests read of the site's pages: their code blocks, in order, with titles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
TUTORIAL = DOCS / "tutorial" / "first-comparison.md"
HOW_TO = sorted((DOCS / "how-to").glob("*.md"))
NEEDS = "Needs "
"""How the title of a block of commands begins that tests cannot run: the rest says what it needs. It is parsed."""
_BLOCK = re.compile(r"^```(\w*)(?: title=\"([^\"]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(language, title or "", text) for language, title, text in _BLOCK.findall(page.read_text("utf-8"))]


def bench_commands(block: Block) -> Iterator[str]:
    """Each ``bench ...`` of a block of commands, continued lines joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|;|\|| & ?$", line.partition(" #")[0]):
            if re.match(r"\s*(?:nohup )?bench ", part):
                yield part.strip().removeprefix("nohup ")
