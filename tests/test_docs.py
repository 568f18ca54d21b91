"""What the README and the pages in docs/ promise exists: every command they show is one, every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from passkwh.cli import main as program
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Options of every command, sub-commands as ``group command``."""
    program._add_commands()
    found: dict[str, set[str]] = {}
    root = get_command(program.app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for sub, leaf in getattr(command, "commands", {"": command}).items():
            options = {option for parameter in leaf.params for option in (*parameter.opts, *parameter.secondary_opts)}
            found[f"{name} {sub}".strip()] = options | {"--help"}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_shown_exist(page: Path, commands: dict[str, set[str]]) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^\s*(?:\$ )?bench ([^#`\n]+)", text, flags=re.M) + re.findall(r"`bench ([^`]+)`", text)
    for line in shown:
        words = line.replace("\\", " ").split()
        known = words[0] in commands or any(name.startswith(words[0] + " ") for name in commands)
        assert known, f"{page.name}: bench {line}"
        name = words[0] if words[0] in commands else " ".join(words[:2])
        if name not in commands:
            continue  # a group on its own, as in `bench meter`
        for word in words:
            if word.startswith("--") and len(word) > 2:
                assert word.split("=")[0] in commands[name], f"{page.name}: bench {line}"
            if word == "--":
                break


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links {target}"
