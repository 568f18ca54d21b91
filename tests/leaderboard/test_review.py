"""What a submission would do to a board: files that are taken or refused, rows, ranks, and a text that obeys nobody."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.clean import UNSAFE
from passkwh.errors import UsageError
from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
from passkwh.reports.leaderboard.review import FileChange, Review, review
from passkwh.reports.leaderboard.review_text import LONGEST, MOST_CHARACTERS, code, markdown
from tests.conftest import Bench
from tests.leaderboard.conftest import make_pack
from tests.leaderboard.synthetic import write_run
from tests.leaderboard.test_packs import edited

Board = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packs of one group: two of the board's, a better one, a worse one, and a repeat of the board's first."""
    place = tmp_path_factory.mktemp("made")
    common: dict[str, Any] = {"tasks": 40, "batch_size": 4}
    return {
        "first": make_pack(place, "first", model="lab/First-1B", accuracy=0.6, seed=1, **common),
        "second": make_pack(place, "second", model="lab/Second-1B", accuracy=0.4, seed=2, **common),
        "better": make_pack(place, "better", model="lab/Better-1B", accuracy=0.95, seed=3, **common),
        "worse": make_pack(place, "worse", model="lab/Worse-1B", accuracy=0.1, seed=4, **common),
        "repeat": make_pack(place, "repeat", model="lab/First-1B", accuracy=0.9, seed=5, repeat=1, **common),
    }


@pytest.fixture
def board(made: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The board's folder, the folder with the submission (so far none), and a cache that all tests share."""
    base = tmp_path / "base"
    base.mkdir()
    (base / ".gitkeep").touch()
    for name in ("first", "second"):
        shutil.copy(made[name], base)
    shutil.copytree(base, tmp_path / "packs")
    return base, tmp_path / "packs", tmp_path_factory.getbasetemp() / "cache-of-reviews"


def look(board: Board) -> Review:
    base, packs, cache = board
    return review(packs, cache, base=base)


def kinds(found: Review) -> list[tuple[str, str, int | None, int | None]]:
    return [
        (change.kind, change.row.model, change.place.rank, None if change.before is None else change.before.rank)
        for change in found.rows
    ]


def test_nothing_is_changed(board: Board) -> None:
    found = look(board)
    assert found == Review((), (), 0)
    assert "No pack" in markdown(found)


def test_a_new_row_has_its_rank_and_moves_others(board: Board, made: dict[str, Path]) -> None:
    shutil.copy(made["better"], board[1])
    found = look(board)
    assert found.accepted
    assert [(file.name, file.kind) for file in found.files] == [(f"better{SUFFIX}", "adds")]
    assert kinds(found) == [("adds", "Better-1B", 1, None)]
    assert found.moved == 2
    assert found.rows[0].place.of == 3
    text = markdown(found)
    assert "**Valid**" in text
    assert "rank 1 of 3 by pass@kWh" in text
    assert "2 other rows would have another rank" in text


def test_the_last_moves_nobody(board: Board, made: dict[str, Path]) -> None:
    shutil.copy(made["worse"], board[1])
    found = look(board)
    assert (kinds(found), found.moved) == ([("adds", "Worse-1B", 3, None)], 0)


def test_a_repeat_changes_a_row(board: Board, made: dict[str, Path]) -> None:
    shutil.copy(made["repeat"], board[1])
    found = look(board)
    assert kinds(found) == [("changes", "First-1B", 1, 1)]
    assert found.rows[0].row.runs == 2


def test_a_withdrawn_pack_takes_its_row(board: Board) -> None:
    (board[1] / f"first{SUFFIX}").unlink()
    found = look(board)
    assert found.accepted
    assert (kinds(found), found.moved) == ([("removes", "First-1B", 1, 1)], 1)
    assert "somebody's pack is withdrawn" in markdown(found)


def test_a_pack_under_another_name_changes_no_row(board: Board) -> None:
    (board[1] / f"first{SUFFIX}").rename(board[1] / f"moved{SUFFIX}")
    found = look(board)
    assert found.accepted
    assert [file.kind for file in found.files] == ["removes", "adds"]
    assert (found.rows, found.moved) == ((), 0)


def refused(found: Review, name: str, seen: str) -> None:
    assert not found.accepted
    (file,) = [file for file in found.files if file.name == name]
    assert file.refused
    assert any(seen in finding.seen for finding in file.findings), file.findings
    assert "**Refused**" in markdown(found)


def test_a_pack_of_the_board_is_not_replaced(board: Board, made: dict[str, Path]) -> None:
    shutil.copy(made["better"], board[1] / f"first{SUFFIX}")
    refused(look(board), f"first{SUFFIX}", "replaces a pack")


def test_nor_by_its_own_run_with_other_words(board: Board, made: dict[str, Path], tmp_path: Path) -> None:
    """The original is removed and a doctored copy added under another name, in one submission."""
    members = members_of(made["first"].parents[1] / "runs" / "first")
    better = {
        name: edited(members[name], lambda it: it.update(run_id="mine")) for name in ("manifest.json", "summary.json")
    }
    write_pack({**members, **better}, board[1] / f"mine{SUFFIX}")
    beside = look(board)
    refused(beside, f"mine{SUFFIX}", "the same generations as first")
    (board[1] / f"first{SUFFIX}").unlink()
    refused(look(board), f"mine{SUFFIX}", "the same generations as first")


@pytest.mark.parametrize("name", ["a", "zz"])
def test_nor_is_it_taken_twice(board: Board, made: dict[str, Path], name: str) -> None:
    shutil.copy(made["first"], board[1] / f"{name}{SUFFIX}")
    found = look(board)
    assert not found.accepted
    assert [file.name for file in found.files if file.refused] == [f"{name}{SUFFIX}"]


def test_what_is_no_pack_is_refused(board: Board, made: dict[str, Path]) -> None:
    (board[1] / "notes.txt").write_text("hello")
    (board[1] / f"link{SUFFIX}").symlink_to("/etc/passwd")
    (board[1] / "folder").symlink_to("/etc")
    (board[1] / f"cut{SUFFIX}").write_bytes(made["better"].read_bytes()[:-200])
    found = look(board)
    refused(found, "notes.txt", "is no pack")
    refused(found, "folder", "is no pack")
    refused(found, f"link{SUFFIX}", "is a link")
    refused(found, f"cut{SUFFIX}", "zip")
    assert len(found.files) == 4
    assert found.rows == ()


def test_a_board_that_is_damaged_already_refuses_nobody(board: Board, made: dict[str, Path]) -> None:
    for folder in board[:2]:
        (folder / f"broken{SUFFIX}").write_bytes(b"PK")
    shutil.copy(made["better"], board[1])
    assert look(board).accepted


def test_changed_files_stand_for_a_base(board: Board, made: dict[str, Path]) -> None:
    _, packs, cache = board
    shutil.copy(made["better"], packs)
    found = review(packs, cache, changed=[packs / f"better{SUFFIX}", packs / f"gone{SUFFIX}"])
    assert [(file.name, file.kind) for file in found.files] == [
        (f"better{SUFFIX}", "adds"),
        (f"gone{SUFFIX}", "removes"),
    ]
    assert found.rows == look(board).rows
    with pytest.raises(UsageError, match="is not in"):
        review(packs, cache, changed=[packs.parent / "elsewhere"])


def test_folders_must_be_there(board: Board, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        review(tmp_path / "no", board[2], base=board[0])
    (tmp_path / "link").symlink_to(board[1])
    with pytest.raises(UsageError, match="there is no folder"):
        review(tmp_path / "link", board[2], base=board[0])


NAMES = [
    "$(touch hit)",
    "`touch hit`",
    "a b;c",
    "-rf",
    "<img src=x>",
    "@everyone #1 ![x](http://e/) | **b**",
    "``x`",
    "\u202e\x1b[31m",
]


@given(st.text() | st.sampled_from(NAMES))
def test_a_name_is_only_a_name(name: str) -> None:
    """One span of code on one line: its fence is no run of backticks within, so nothing in it is markup."""
    span = code(name)
    (fence,) = re.findall(r"^(`+)[^`]", span)
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence)
    assert fence not in re.findall("`+", inner)
    assert "\n" not in span
    assert not UNSAFE.search(span)
    assert len(span) < 3 * LONGEST


def test_a_text_has_an_end() -> None:
    found = Review(tuple(FileChange(f"{'x' * 300}{i}{SUFFIX}", "adds") for i in range(500)), (), 0)
    text = markdown(found)
    assert len(text) <= MOST_CHARACTERS
    left = re.search(r"(\d+) more lines", text)
    assert left
    assert text.count("- adds") + int(left[1]) >= 500


def test_from_the_outside(bench: Bench, board: Board, made: dict[str, Path], tmp_path: Path) -> None:
    base, packs, cache = board
    hostile = write_run(tmp_path / "run", model="lab/`$(touch hit)`<b>@me", tasks=40, batch_size=4, seed=9)
    name = "$(touch hit);`x` <b>@me.passkwh.zip"
    write_pack(members_of(hostile), packs / name)
    result = bench("leaderboard", "review", packs, "--base", base, "--cache", cache)
    assert result.returncode == 0, result.stderr
    assert f"- adds ``{name}``: valid" in result.stdout
    (packs / "notes.txt").touch()
    result = bench("leaderboard", "review", packs, "--base", base, "--cache", cache, "--json")
    assert result.returncode == 1
    said = json.loads(result.stdout.splitlines()[-1])
    assert not said["accepted"]
    assert {file["name"]: file["refused"] for file in said["files"]} == {name: False, "notes.txt": True}
    assert [(row["change"], row["of"], row["rank_before"]) for row in said["rows"]] == [("adds", 3, None)]
    neither = bench("leaderboard", "review", packs)
    assert neither.returncode == 2
    assert "--base" in neither.stderr
