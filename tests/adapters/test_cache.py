"""A folder in the cache is whole or not there, whatever happens to the process that makes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from passkwh.cache import building, cache_dir, check_intact
from passkwh.errors import UsageError


def test_the_users_choice_of_folder_holds(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == own_cache
    monkeypatch.delenv("PASSKWH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_dir() == own_cache / "xdg" / "passkwh"


def test_a_folder_appears_when_it_is_done(tmp_path: Path) -> None:
    with building(tmp_path / "a" / "made") as draft:
        (draft / "file").write_text("whole")
        assert not (tmp_path / "a" / "made").exists()
    assert (tmp_path / "a" / "made" / "file").read_text() == "whole"
    assert os.listdir(tmp_path / "a") == ["made"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with building(tmp_path / "made") as draft:
            (draft / "file").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert os.listdir(tmp_path) == []


def test_the_first_of_two_builders_wins(tmp_path: Path) -> None:
    with building(tmp_path / "made") as late:
        (late / "file").write_text("second")
        with building(tmp_path / "made") as early:
            (early / "file").write_text("first")
    assert (tmp_path / "made" / "file").read_text() == "first"
    assert os.listdir(tmp_path) == ["made"]


def test_what_a_killed_builder_left_is_not_used_and_is_cleared_away(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from passkwh.cache import building\n"
        "with building(pathlib.Path(sys.argv[1])) as draft:\n"
        "    (draft / 'file').write_text('half'); print('begun', flush=True); time.sleep(60)\n"
    )
    target = tmp_path / "made"
    with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not target.exists()
    assert len(os.listdir(tmp_path)) == 1
    with building(target) as draft:
        (draft / "file").write_text("whole")
    assert os.listdir(tmp_path) == ["made"]


def test_a_living_builders_draft_is_left_alone(tmp_path: Path) -> None:
    with building(tmp_path / "made") as first, building(tmp_path / "made") as second:
        assert first != second
        assert first.is_dir()
    assert (tmp_path / "made").is_dir()


def test_a_file_is_hashed_once_for_each_state_that_it_has(own_cache: Path) -> None:
    made = own_cache / "made"
    with building(made) as draft:
        (draft / "weights").write_bytes(b"1234")
    check_intact(made)
    before = (made / "weights").stat()
    (made / "weights").write_bytes(b"1235")
    os.utime(made / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))
    check_intact(made)  # as it was compared before: size, time and inode are the same
    os.utime(made / "weights", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    for _ in range(2):  # what was wrong is not remembered
        with pytest.raises(UsageError, match="weights is missing or damaged"):
            check_intact(made)
    (made / "weights").unlink()
    with pytest.raises(UsageError, match="weights is missing or damaged"):
        check_intact(made)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"weights": 1}', '{"weights": [4, 0, 0, ""]}'])
def test_a_damaged_memory_of_what_was_compared_only_costs_time(own_cache: Path, content: str) -> None:
    with building(own_cache / "made") as draft:
        (draft / "weights").write_bytes(b"1234")
    (own_cache / "made" / ".verified").write_text(content)
    check_intact(own_cache / "made")
    assert len(json.loads((own_cache / "made" / ".verified").read_text())["weights"]) == 4
