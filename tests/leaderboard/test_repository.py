"""A board kept in git: every shell block of the workflows is run, in repositories and pull requests made here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from passkwh.errors import UsageError
from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
from passkwh.reports.leaderboard.repository import WORKFLOWS, requirement, write_repository
from tests.conftest import REPOSITORY, Bench
from tests.leaderboard.conftest import make_pack
from tests.leaderboard.synthetic import write_run

HOSTILE = "$(touch hit);`touch hit` <b>@me| [x](http:e).passkwh.zip"
TITLE = 'Bob\'s "board": #1 $(touch hit)'
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git")


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("packs")
    common: dict[str, Any] = {"tasks": 20, "batch_size": 4}
    return {
        name: make_pack(place, name, model=f"lab/{name}-1B", accuracy=accuracy, seed=seed, **common)
        for seed, (name, accuracy) in enumerate({"theirs": 0.5, "good": 0.9}.items())
    }


# ---------------------------------------------------------------- the files


def workflows(folder: Path) -> dict[str, Any]:
    return {name: yaml.safe_load((folder / ".github/workflows" / name).read_text()) for name in WORKFLOWS}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "board"
    write_repository(folder, TITLE, requirement())
    return folder


def steps_of(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_actions_are_pinned_by_commit(shipped: Path) -> None:
    used = [step["uses"] for workflow in workflows(shipped).values() for step in steps_of(workflow) if "uses" in step]
    assert len(used) > 10
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)
    for name in WORKFLOWS:
        for line in (shipped / ".github/workflows" / name).read_text().splitlines():
            assert "uses:" not in line or re.search(r"# v\d+\.\d+\.\d+$", line), line
    by_action: dict[str, set[str]] = {}
    for action, _, commit in (one.partition("@") for one in used):
        by_action.setdefault(action, set()).add(commit)
    assert all(len(commits) == 1 for commits in by_action.values()), "one version of an action in all workflows"


def test_no_shell_block_holds_an_expression(shipped: Path) -> None:
    """What GitHub puts in place of ${{ }} would be read by the shell: such values go through the environment."""
    for workflow in workflows(shipped).values():
        assert all("${{" not in step.get("run", "") for step in steps_of(workflow))


def test_each_workflow_may_do_no_more_than_it_needs(shipped: Path) -> None:
    check, comment, publish = (workflows(shipped)[name] for name in WORKFLOWS)
    on = True  # YAML 1.1 reads the word so
    assert check[on] == "pull_request"
    assert check["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in check["jobs"].values())
    assert "secrets" not in (shipped / ".github/workflows/check.yml").read_text().partition("name: check")[2]
    assert all(
        step["with"]["persist-credentials"] is False for step in steps_of(check) if "checkout" in step.get("uses", "")
    )
    assert comment["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert comment[on]["workflow_run"]["workflows"] == [check["name"]]
    assert not any("checkout" in step.get("uses", "") for step in steps_of(comment))
    assert publish["permissions"] == {"contents": "read"}
    assert publish[on]["push"] == {"branches": ["main"]}
    assert publish["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert not any("run" in step for step in publish["jobs"]["deploy"]["steps"])


def test_a_title_is_a_title(shipped: Path) -> None:
    for name in ("check.yml", "publish.yml"):
        assert workflows(shipped)[name]["env"]["TITLE"] == TITLE


@pytest.mark.parametrize(
    ("title", "install"),
    [("${{ secrets.X }}", "passkwh"), ("two\nlines", "passkwh"), ("", "passkwh"), ("t", "--index-url=http://x"),
     ("t", "a\nb"), ("x" * 201, "passkwh"), ("t\u202e", "passkwh")],
)  # fmt: skip
def test_texts_that_a_workflow_would_take_for_more(tmp_path: Path, title: str, install: str) -> None:
    with pytest.raises(UsageError, match=r"--title|--install"):
        write_repository(tmp_path / "board", title, install)
    assert not (tmp_path / "board").exists()


def test_init_from_the_outside(bench: Bench, tmp_path: Path) -> None:
    made = bench("leaderboard", "init", tmp_path / "board", "--install", "passkwh==9.9")
    assert made.returncode == 0, made.stderr
    assert set(made.stdout.split()) == {str(path) for path in (tmp_path / "board").rglob("*") if path.is_file()}
    assert workflows(tmp_path / "board")["check.yml"]["env"]["PASSKWH"] == "passkwh==9.9"
    again = bench("leaderboard", "init", tmp_path / "board")
    assert again.returncode == 2
    assert "there already" in again.stderr


# ---------------------------------------------------------------- running them


def git(folder: Path, *arguments: str) -> str:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    none = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    result = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **who, **none}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@dataclass
class Runner:
    """A job's shell blocks, in order, as GitHub runs them: by its shell, with its variables, up to a failure."""

    place: Path
    said: str = ""

    def __post_init__(self) -> None:
        for name in ("bin", "temp", "work", "home"):
            (self.place / name).mkdir(parents=True)
        python = f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m passkwh.cli.main "$@"\n'
        self.program("bench", python)
        # The one thing that is not done here: an installation from the package index.
        self.program("pip", f'#!/bin/sh\nprintf "%s\\n" "$@" >> {self.place}/installed\n')

    def program(self, name: str, text: str) -> None:
        path = self.place / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(
        self, workflow: Any, job: str, values: dict[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> bool:
        """Whether all blocks ended well."""
        failed = False
        for step in workflow["jobs"][job]["steps"]:
            if "run" not in step or (failed and "!cancelled()" not in str(step.get("if"))):
                continue
            env = {**workflow.get("env", {}), **workflow["jobs"][job].get("env", {}), **step.get("env", {})}
            for expression, value in (values or {}).items():
                env = {name: text.replace(f"${{{{ {expression} }}}}", value) for name, text in env.items()}
            assert not any("${{" in text for text in env.values()), env
            script = self.place / "step.sh"
            script.write_text(step["run"])
            result = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=self.place / "work",
                env={
                    "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}", "HOME": str(self.place / "home"),
                    "RUNNER_TEMP": str(self.place / "temp"), "GITHUB_STEP_SUMMARY": str(self.place / "summary"),
                    "GITHUB_REPOSITORY": "lab/board", **env,
                },
                capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            self.said += result.stdout + result.stderr
            failed |= result.returncode != 0
        return not failed

    @property
    def report(self) -> str:
        return (self.place / "work/report/report.md").read_text()


@pytest.fixture(scope="module")
def board(shipped: Path, packs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one pack on main."""
    folder = tmp_path_factory.mktemp("repository") / "board"
    shutil.copytree(shipped, folder)
    shutil.copy(packs["theirs"], folder / "packs")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "board")
    return folder


@pytest.fixture
def check(board: Path, tmp_path: Path) -> Callable[[Callable[[Path], None]], tuple[bool, Runner]]:
    """Run the check of a pull request that changes the board as told."""

    def run(change: Callable[[Path], None]) -> tuple[bool, Runner]:
        folder, runner = tmp_path / "theirs", Runner(tmp_path / "runner")
        git(tmp_path, "clone", "-q", str(board), str(folder))
        git(folder, "checkout", "-q", "-b", "change")
        change(folder)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "submission")
        git(folder, "checkout", "-q", "main")
        git(folder, "merge", "-q", "--no-ff", "-m", "as GitHub merges it for the check", "change")
        git(tmp_path, "clone", "-q", "--depth", "2", f"file://{folder}", str(runner.place / "work/change"))
        good = runner.run(workflows(board)["check.yml"], "check")
        assert not list(tmp_path.rglob("hit")), "a name was run"
        assert (runner.place / "installed").read_text().splitlines() == ["install", requirement()]
        assert (runner.place / "summary").read_text() == runner.report
        return good, runner

    return run


Check = Callable[[Callable[[Path], None]], tuple[bool, Runner]]


@needs_git
def test_a_good_pack(check: Check, packs: dict[str, Path]) -> None:
    good, runner = check(lambda folder: shutil.copy(packs["good"], folder / "packs") and None)
    assert good, runner.said
    assert "**Valid**" in runner.report
    assert "adds `good-1B" in runner.report
    assert "rank 1 of 2" in runner.report
    page = (runner.place / "work/site/index.html").read_text()
    assert "good-1B" in page
    assert "$(touch hit)" in page


@needs_git
def test_a_damaged_pack(check: Check, packs: dict[str, Path]) -> None:
    good, runner = check(
        lambda folder: (folder / "packs" / f"cut{SUFFIX}").write_bytes(packs["good"].read_bytes()[:-99]) and None
    )
    assert not good
    assert "zip" in runner.report
    assert not (runner.place / "work/site").exists()


@needs_git
def test_a_pack_in_place_of_somebody_elses(check: Check, packs: dict[str, Path]) -> None:
    good, runner = check(lambda folder: shutil.copy(packs["good"], folder / "packs" / packs["theirs"].name) and None)
    assert not good
    assert "replaces a pack" in runner.report


@needs_git
def test_a_file_that_is_no_pack(check: Check, packs: dict[str, Path]) -> None:
    def change(folder: Path) -> None:
        shutil.copy(packs["good"], folder / "packs")
        (folder / "packs/run.sh").write_text("touch hit\n")
        (folder / "packs/passkwh.zip").symlink_to("/etc/passwd")
        (folder / "README.md").write_text("another\n")

    good, runner = check(change)
    assert not good
    assert runner.report.count("is no pack") == 2
    assert "Files outside packs/ that are changed, too: 1." in runner.report


@needs_git
def test_nothing_of_a_change_is_run(check: Check, packs: dict[str, Path]) -> None:
    """Modules, hooks, filters and settings that lie where a tool might look."""

    def change(folder: Path) -> None:
        shutil.copy(packs["good"], folder / "packs")
        bad = "import pathlib; pathlib.Path('hit').touch()\n"
        for name in ("pip.py", "sitecustomize.py", "passkwh.py", "yaml.py", "json.py"):
            (folder / name).write_text(bad)
            (folder / "packs" / name).write_text(bad)
        (folder / ".gitattributes").write_text("* filter=hit diff=hit\n")
        (folder / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::touch hit\n')

    good, runner = check(change)
    assert not good
    assert "Files outside packs/ that are changed, too: 7." in runner.report


@needs_git
def test_a_name_with_signs_of_shell_and_markdown(check: Check, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", model="lab/`$(touch hit)` <img src=x> @me", tasks=20, batch_size=4, seed=7)
    good, runner = check(lambda folder: write_pack(members_of(run), folder / "packs" / HOSTILE))
    assert good, runner.said
    assert f"``{HOSTILE}``: valid" in runner.report
    assert "img src" not in re.sub(r"(`+).*?\1", "", runner.report)


@needs_git
def test_a_board_is_published_with_and_without_packs(board: Path, tmp_path: Path) -> None:
    for name, empty in (("full", False), ("empty", True)):
        runner = Runner(tmp_path / name)
        git(tmp_path, "clone", "-q", f"file://{board}", str(runner.place / "work/board"))
        if empty:
            next((runner.place / "work/board/packs").glob("*.zip")).unlink()
        values = {"steps.pages.outputs.base_url": "https://lab.github.io/board"}
        assert runner.run(workflows(board)["publish.yml"], "build", values), runner.said
        page = (runner.place / "work/site/index.html").read_text()
        assert ("theirs-1B" in page) is not empty


# ---------------------------------------------------------------- the comment

GH = """#!{python}
import json, pathlib, sys
place = pathlib.Path({place!r})
arguments = sys.argv[1:]
with (place / "calls").open("a") as file:
    body = pathlib.Path(arguments[arguments.index("--input") + 1]).read_text() if "--input" in arguments else None
    file.write(json.dumps([arguments, body]) + "\\n")
if any(one.endswith("/pulls") for one in arguments):
    print((place / "pulls").read_text())
elif "--paginate" in arguments:
    print((place / "comments").read_text())
"""
SHA = "0123456789abcdef0123456789abcdef01234567"
MINE = {"id": 7, "user": {"login": "github-actions[bot]"}, "body": "<!-- passkwh check -->\nold"}
OTHERS = [
    {"id": 5, "user": {"login": "eve"}, "body": "<!-- passkwh check -->\nnot ours"},
    {"id": 6, "user": {"login": "github-actions[bot]"}, "body": None},
]


def comment(
    board: Path, place: Path, report: bytes, pulls: list[Any], comments: str
) -> tuple[bool, list[tuple[list[str], str | None]]]:
    """Run the comment's shell block with a gh that writes down what it is asked."""
    runner = Runner(place)
    (place / "temp/report").mkdir()
    (place / "temp/report/report.md").write_bytes(report)
    (place / "pulls").write_text(json.dumps(pulls))
    (place / "comments").write_text(comments)
    runner.program("gh", GH.format(python=sys.executable, place=str(place)))
    event = "github.event.workflow_run"
    values = {
        "github.token": "t", f"{event}.head_repository.owner.login": "eve", f"{event}.head_sha": SHA,
        f"{event}.head_branch": "$(touch hit);`x`&state=closed",
    }  # fmt: skip
    good = runner.run(workflows(board)["comment.yml"], "comment", values)
    assert not list(place.rglob("hit"))
    return good, [tuple(json.loads(line)) for line in (place / "calls").read_text().splitlines()]


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="no jq")
PULLS = [{"number": 3, "head": {"sha": "f" * 40}}, {"number": 4, "head": {"sha": SHA}}]


@needs_jq
def test_one_comment_is_written_and_then_changed(shipped: Path, tmp_path: Path) -> None:
    good, calls = comment(shipped, tmp_path / "new", b"**Valid**.\n", PULLS, json.dumps(OTHERS))
    assert good
    assert "head=eve:$(touch hit);`x`&state=closed" in calls[0][0]
    assert calls[-1][0][1:4] == ["-X", "POST", "repos/lab/board/issues/4/comments"]
    # gh prints the pages one behind the other.
    good, calls = comment(shipped, tmp_path / "again", b"**Valid**.\n", PULLS, json.dumps(OTHERS) + json.dumps([MINE]))
    assert good
    assert calls[-1][0][1:4] == ["-X", "PATCH", "repos/lab/board/issues/comments/7"]
    assert len([call for call in calls if call[1]]) == 1


@needs_jq
def test_an_older_commits_check_says_nothing(shipped: Path, tmp_path: Path) -> None:
    good, calls = comment(shipped, tmp_path / "r", b"x", PULLS[:1], "[]")
    assert good
    assert len(calls) == 1


@needs_jq
@pytest.mark.parametrize(
    "report",
    [
        b"```\n</details>\n@everyone ![x](http://e/x.png) <img src=x>\n````````\n# big",
        b"\x00\x1b[31m\xff\xfe" * 40000,
        "é".encode() * 30001,
        b"",
    ],
)
def test_a_comment_obeys_no_report(shipped: Path, tmp_path: Path, report: bytes) -> None:
    """Whatever the text, it stands whole in one block of code, and GitHub takes it."""
    good, calls = comment(shipped, tmp_path / "r", report, PULLS, "[]")
    assert good
    body = json.loads(calls[-1][1] or "")["body"]
    assert len(body.encode()) < 65536
    lines = body.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.endswith("text") and set(line[:-4]) == {"`"}]
    fence = lines[start][:-4]
    assert lines[0] == "<!-- passkwh check -->"
    assert lines[-1] == fence
    assert not [line for line in lines[start + 1 : -1] if re.match(rf"\s*`{{{len(fence)},}}\s*$", line)]
    assert not re.search("[\x00-\x08\x1b]", body)
