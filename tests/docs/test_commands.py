"""The tutorial and the how-to pages are carried out, block by block, and their output has the shape that they show.

A block titled ``Needs ...`` names what a test does not have (a GPU, a hub, somebody's server): the real command line
parses it. A block titled with a file name is that file. A block titled ``Output`` is what the commands before it print:
each of its lines stands in the output, in that order, with any numbers, and ``...`` for any text.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from passkwh.cli import main as program
from tests.conftest import REPOSITORY
from tests.docs.pages import HOW_TO, NEEDS, TUTORIAL, Block, bench_commands, blocks

PAGES = [TUTORIAL, *HOW_TO, REPOSITORY / "docs" / "index.md"]
FILE = re.compile(r"[\w-]+\.(?:py|jsonl|toml)")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which ``bench`` and ``python`` are those of this test."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in {"bench": "-m passkwh.cli.main", "python": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def carry_out(page: Path, folder: Path, path: str) -> None:
    """Run a page's blocks in a folder, and compare what they print with what the page shows."""
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    printed = ""
    for block in blocks(page):
        if FILE.fullmatch(block.title):
            (folder / block.title).write_text(block.text, "utf-8")
        elif block.language == "bash" and not block.title.startswith(NEEDS):
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=environment, text=True, timeout=500,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            printed = ran.stdout
            assert ran.returncode == 0, f"{page.name}: {block.text}{printed[-3000:]}"
        elif block.title == "Output":
            missing = first_missing_line(block.text, printed)
            assert missing is None, f"{page.name} shows a line that is not printed there: {missing}\n{printed}"


def first_missing_line(shown: str, printed: str) -> str | None:
    """The first line shown that is not among what was printed, after the lines before it; None when all are."""
    lines = iter([_shape(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        pattern = ".*".join(map(re.escape, _shape(line).split("...")))
        if line.strip() != "..." and not any(re.fullmatch(pattern, candidate) for candidate in lines):
            return line
    return None


def _shape(line: str) -> str:
    """A line with every number, and the dash of a missing one, as N, and without the widths of columns.

    Whether two forms of a model are shown to differ in energy depends on the machine, and is left open.
    """
    line = re.sub(r"(are not shown to )?differ in energy \(.*", "differ in energy or not", line)
    line = re.sub(r"(?<![\w])[-+]?\d(?:[\d,.]*\d)?(?:e[-+]?\d+)?|—", "N", line)
    return " ".join(re.sub(r"[━─]+", "━", line).split())


@pytest.mark.parametrize(
    ("shown", "missing"), [("a 2\n...\nc", None), ("c\na 1", "a 1"), ("a x", "a x"), ("b...z", "b...z")]
)
def test_a_line_that_is_not_printed_is_noticed(shown: str, missing: str | None) -> None:
    assert first_missing_line(shown, "a 1.5\nb and y\nc\n") == missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_of_the_real_command_line(page: Path) -> None:
    program._add_commands()
    root: Any = get_command(program.app)
    for block in blocks(page):
        for line in bench_commands(block) if block.language == "bash" else ():
            command, words = root, shlex.split(re.sub(r"\$\(.*?\)|\s(?:2?>).*$|&$", "", line))[1:]
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            with command.make_context(line, words):  # raises where an option or value is unknown or missing
                pass


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory, path: str) -> Path:
    """The folder that the tutorial leaves behind."""
    folder = tmp_path_factory.mktemp("tutorial")
    carry_out(TUTORIAL, folder, path)
    return folder


@pytest.mark.slow
def test_the_tutorial(tutorial: Path) -> None:
    assert (tutorial / "report.html").exists()
    assert (tutorial / "board" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_a_how_to(page: Path, tutorial: Path, tmp_path: Path, path: str) -> None:
    shutil.copytree(tutorial / "runs", tmp_path / "runs")
    carry_out(page, tmp_path, path)


def test_what_tests_do_not_run_says_what_it_needs() -> None:
    titles = {block.title for page in PAGES for block in blocks(page) if block.language == "bash" and block.title}
    assert {title for title in titles if not title.startswith(NEEDS)} == set()


def test_every_block_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        'x\n```bash title="Needs a GPU"\nbench run \\\n  -m x && bench list\n```\n```text\nb\n```\n', "utf-8"
    )
    first, second = blocks(page)
    assert second == Block("text", "", "b\n")
    assert list(bench_commands(first)) == ["bench run    -m x", "bench list"]
    for file in PAGES:
        assert len(blocks(file)) == file.read_text("utf-8").count("\n```") / 2
