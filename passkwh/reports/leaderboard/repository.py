"""A board kept in a git repository: the folder that ``bench leaderboard init`` makes."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from passkwh import __version__
from passkwh.clean import one_line
from passkwh.errors import UsageError

WORKFLOWS = ("check.yml", "comment.yml", "publish.yml")
IGNORED = "site/\nruns/\n.cache/\n"
LONGEST = 200
"""Characters of a title or a requirement."""


def requirement() -> str:
    """What ``pip install`` is given for the passkwh that is running: its release, where it is one."""
    release = __version__.partition("+")[0]
    return "passkwh" if ".dev" in release else f"passkwh=={release}"


def write_repository(folder: Path, title: str, install: str) -> list[Path]:
    """Write the files of a board into ``folder``, which may be a repository that has none of them; their paths.

    ``install`` is what ``pip install`` is given in the workflows.

    Raises:
        UsageError: for a folder that has one of the files, and for texts that a workflow would take for more.
    """
    for name, text in (("--title", title), ("--install", install)):
        if not text or text != one_line(text, LONGEST) or "${{" in text:
            raise UsageError(
                f"{name} {text[:LONGEST]!r}: give one plain line of at most {LONGEST} characters, without ${{{{"
            )
    if install.startswith("-"):
        raise UsageError(f"--install {install!r} is an option of pip: give a package, as passkwh==1.0")
    files = _files(title, install)
    for name in files:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise UsageError(f"{folder / name} is there already: choose another folder, or move it away")
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error
    return [folder / name for name in files]


def _files(title: str, install: str) -> dict[str, str]:
    # A JSON string is a YAML string; what GitHub would put in place of ${{ }} was refused above.
    given = {"@REQUIREMENT@": json.dumps(install), "@TITLE@": json.dumps(title, ensure_ascii=False), "@HEADING@": title}

    def filled(name: str) -> str:
        text = resources.files("passkwh.reports.leaderboard").joinpath("repository").joinpath(name).read_text("utf-8")
        for mark, value in given.items():
            text = text.replace(mark, value)
        return text

    return {
        "README.md": filled("README.md"),
        ".gitignore": IGNORED,
        ".gitattributes": "*.passkwh.zip binary\n",
        "packs/.gitkeep": "",
        **{f".github/workflows/{name}": filled(name) for name in WORKFLOWS},
    }
