"""``bench setup``: build the environment that a benchmark's programs run in, or check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passkwh.cli.output import note, print_json, print_table, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.benchmarks.bigcodebench.environment import Manifest

PYTHON_HELP = "Interpreter to build it with; default: a Python 3.11 if there is one (the pinned versions fit it)."


def setup(
    benchmark: Annotated[str, typer.Argument(help="bigcodebench; other benchmarks need no environment.")],
    python: Annotated[Path | None, typer.Option(help=PYTHON_HELP)] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare what is installed with its hashes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Build a virtual environment of its own for a benchmark's libraries (about 3 GB), or check the one there is."""
    if benchmark != "bigcodebench":
        raise UsageError(f"{benchmark} needs no environment of its own; bench setup knows bigcodebench")
    from passkwh.benchmarks.bigcodebench import environment

    wrong: list[str] = []
    if check:
        manifest, wrong = environment.check(note)
    else:
        manifest = environment.setup(python, note)
    if as_json:
        print_json({"folder": str(environment.folder()), **vars(manifest), "wrong": wrong})
    else:
        _show(environment.folder(), manifest)
    for line in wrong[:20]:
        note(f"damaged: {line}")
    if wrong:
        note(f"{len(wrong)} files differ: run `bench setup {benchmark}` again")
        raise typer.Exit(1)


def _show(folder: Path, manifest: Manifest) -> None:
    rows = [
        ["folder", str(folder)],
        ["Python", manifest.python],
        ["packages", str(len(manifest.packages))],
        ["left out", ", ".join(manifest.left_out) or "none"],
        ["checksum", manifest.checksum],
    ]
    print_table(table(None, ["environment", ""], rows))
