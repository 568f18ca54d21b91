"""``bench compare``: two configurations on the same tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.output import note, print_json
from passkwh.errors import UsageError


def compare(
    a: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs of one configuration.")],
    b: Annotated[Path, typer.Argument(help="What it is compared with.")],
    energy: Annotated[str, typer.Option(help="gross, or net of idle power.")] = "gross",
    margin: Annotated[float, typer.Option(help="Margin of pass@1 for 'no loss of accuracy'.")] = 0.02,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse runs whose task sets differ.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Does A use less energy than B, and what did accuracy pay?"""
    from passkwh.analysis.duel import duel, sentences
    from passkwh.analysis.frames import expand, load

    if energy not in ("gross", "net"):
        raise UsageError(f"--energy {energy}: write gross or net")
    if not 0 < margin < 1:
        raise UsageError(f"--margin {margin}: give a difference of pass@1 between 0 and 1, for example 0.02")
    if not 0.5 < level < 1:
        raise UsageError(f"--level {level}: give a number between 0.5 and 1, for example 0.95")
    first = expand([a])
    result = duel(
        load([*first, *expand([b])]), len(first), "net" if energy == "net" else "gross", margin, resamples, seed, level,
        strict,
    )  # fmt: skip
    for text in result.notes:
        note(f"note: {text}")
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    for text in sentences(result):
        print(text)
