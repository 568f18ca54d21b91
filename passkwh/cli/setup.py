"""``bench setup``: build the environment of a benchmark's programs or of an engine, or check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.output import note, print_json, print_table, table
from passkwh.errors import UsageError

PYTHON_HELP = "Interpreter to build it with; default: a Python 3.11 if there is one (the pinned versions fit it)."


def setup(
    name: Annotated[
        str,
        typer.Argument(
            help="bigcodebench, vllm, or another that needs an environment of its own.",
            autocompletion=complete.environments,
        ),
    ],
    python: Annotated[Path | None, typer.Option(help=PYTHON_HELP)] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare what is installed with its hashes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Build an environment of its own for a benchmark's libraries or an engine (3 GB and more), or check the one there
    is."""
    from passkwh.cli.live import LiveProgress
    from passkwh.environments import HasEnvironment
    from passkwh.harness.progress import Steps
    from passkwh.registry import BENCHMARKS, ENGINES

    registry = ENGINES if name in ENGINES else BENCHMARKS
    if name not in registry:
        raise UsageError(
            f"there is no benchmark or engine {name!r}: those with an environment are bigcodebench, sglang and vllm"
        )
    member = registry.get(name)
    if not isinstance(member, HasEnvironment):
        raise UsageError(f"{registry.noun} {name} has no environment of its own to set up: it runs without one")
    environment = member.environment
    wrong: list[str] = []
    with LiveProgress(f"setup {name}") as live:
        if check:
            manifest, wrong = environment.check(Steps(live))
        else:
            manifest = environment.setup(python, Steps(live))
    if as_json:
        print_json({"folder": str(environment.folder()), **vars(manifest), "wrong": wrong})
    else:
        rows = [["folder", str(environment.folder())]]
        rows += [[name.replace("_", " "), _shown(value)] for name, value in vars(manifest).items()]
        print_table(table(None, ["environment", ""], rows))
    for line in wrong[:20]:
        note(f"damaged: {line}")
    if wrong:
        note(f"{len(wrong)} files differ: run `bench setup {name}` again")
        raise typer.Exit(1)


def _shown(value: Any) -> str:
    """A field of a manifest: the number of packages, names, or a text."""
    if isinstance(value, dict):
        return str(len(value))
    return (", ".join(value) or "none") if isinstance(value, tuple | list) else str(value)
