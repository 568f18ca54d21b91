"""``bench compare``: two configurations on the same tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.output import note, print_json


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
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.analysis.compare_two import duel, sentences
    from passkwh.analysis.frames import load
    from passkwh.cli.analyze import settings_of

    settings = settings_of(energy, resamples, seed, level, margin)
    (first, of_a), (second, of_b) = complete_runs([a]), complete_runs([b])
    for text in (*of_a, *of_b):
        note(f"note: {text}")
    result = duel(load([*first, *second]), len(first), settings.energy, margin, resamples, seed, level, strict)
    for text in result.notes:
        note(f"note: {text}")
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    for text in sentences(result):
        print(text)
