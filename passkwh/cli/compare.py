"""``bench compare``: two configurations on the same tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.options import (
    AsJson,
    BootstrapSeed,
    ConventionName,
    Energy,
    Level,
    Margin,
    Resamples,
    Strict,
    analysis_settings,
)
from passkwh.cli.output import note, print_json, say


def compare(
    a: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs of one configuration.")],
    b: Annotated[Path, typer.Argument(help="What it is compared with.")],
    convention: ConventionName = None,
    energy: Energy = None,
    margin: Margin = 0.02,
    resamples: Resamples = 10_000,
    seed: BootstrapSeed = 0,
    level: Level = 0.95,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Does A use less energy than B, and at what loss of accuracy?"""
    from passkwh.analysis.comparable_groups import chosen_convention, complete_runs
    from passkwh.analysis.compare_two import compare_two, sentences
    from passkwh.analysis.conventions import stated
    from passkwh.analysis.frames import load

    by = chosen_convention([a, b], convention)
    settings = analysis_settings(by, energy, resamples, seed, level, margin)
    (first, of_a), (second, of_b) = complete_runs([a]), complete_runs([b])
    for text in (*of_a, *of_b):
        note(f"note: {text}")
    frames = load([*first, *second], by)
    result = compare_two(frames, len(first), settings, strict)
    note(f"note: {stated(frames.runs, settings.energy)}")
    for text in result.notes:
        note(f"note: {text}")
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    for text in sentences(result):
        say(text)
