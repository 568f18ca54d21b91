"""``bench analyze``: what differs between configurations, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.analysis_modes import EXPERIMENTS, ModeResult, experiment, overview, published, sample_size
from passkwh.cli.options import (
    AsJson,
    BootstrapSeed,
    ConventionName,
    Energy,
    Level,
    Margin,
    Price,
    Pue,
    Region,
    Resamples,
    Strict,
    analysis_settings,
    footprint_assumptions,
    out_folder,
)
from passkwh.cli.output import note, print_json, print_result
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.overview import AnalysisSettings
    from passkwh.analysis.pooling import Comparison


def analyze(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders, or folders that hold runs.")] = None,
    experiment_: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            help=f"One of the thesis's: {', '.join(EXPERIMENTS)}.",
            autocompletion=complete.one_of(*EXPERIMENTS),
        ),
    ] = None,
    convention: ConventionName = None,
    energy: Energy = None,
    idle: Annotated[str | None, typer.Option(help="Take net energy anew: none, before, mean, or watts.")] = None,
    margin: Margin = 0.02,
    budget_kwh: Annotated[float | None, typer.Option(help="Name the most accurate within this energy.")] = None,
    floor: Annotated[float | None, typer.Option(help="Name the thriftiest with at least this pass@1.")] = None,
    resamples: Resamples = 10_000,
    seed: BootstrapSeed = 0,
    level: Level = 0.95,
    strict: Strict = False,
    plan: Annotated[bool, typer.Option("--plan", help="How many tasks and repeats tell the first two apart.")] = False,
    effect: Annotated[float | None, typer.Option(help="For --plan: ratio - 1, or difference in pass@1.")] = None,
    goal: Annotated[
        str | None, typer.Option(help="For --plan: difference, non-inferiority (against --margin), or rank.")
    ] = None,
    power: Annotated[float, typer.Option(help="For --plan: wanted power.")] = 0.8,
    region: Region = None,
    pue: Pue = 1.0,
    price: Price = None,
    published_: Annotated[
        Path | None, typer.Option("--published", help="Check a CSV of published rows instead of runs.")
    ] = None,
    family: Annotated[str, typer.Option(help="For --published: frontier of models whose name starts so.")] = "",
    tasks: Annotated[
        int | None, typer.Option(min=1, help="For --published: of how many tasks the printed shares are.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write tables (CSV, Parquet, LaTeX), runs and samples here.", callback=out_folder),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tests, intervals, rankings and the frontier of a set of runs."""
    if published_ is not None:
        if runs:
            raise UsageError("--published checks a file of rows and takes no runs: leave the run folders out")
        content = _deliver(published(published_, family, tasks), out, as_json)
    else:
        from passkwh.analysis.comparable_groups import chosen_convention

        by = chosen_convention(runs or [], convention)
        settings = analysis_settings(by, energy, resamples, seed, level, margin, budget_kwh, floor)
        if not 0 < power < 1:
            raise UsageError(f"--power {power}: give a number between 0 and 1, for example 0.8")
        if effect is not None and not plan:
            raise UsageError("--effect is what --plan is to find: add --plan")
        if goal is not None and not plan:
            raise UsageError("--goal is what --plan is to reach: add --plan")
        if family:
            raise UsageError("--family chooses among published rows: add --published FILE")
        if tasks is not None:
            raise UsageError("--tasks says of how many tasks published shares are: add --published FILE")
        if idle is not None and settings.energy != "net":
            raise UsageError("--idle changes net energy: add --energy net or --convention thesis")
        assumptions = footprint_assumptions(region, pue, price)
        if assumptions is not None and (plan or experiment_ is not None):
            raise UsageError("--region, --pue and --price add to the overview: leave --plan and --experiment out")

        def analyse_group(paths: Sequence[Path], folder: Path | None) -> dict[str, Any]:
            comparison = _comparison(paths, idle, strict, settings)
            if plan:
                return _deliver(sample_size(comparison, settings, effect, power, goal), folder, as_json)
            if experiment_ is not None:
                return _deliver(experiment(experiment_, comparison, settings), folder, as_json)
            return _deliver(overview(comparison, settings, assumptions), folder, as_json, comparison)

        content = _group_by_group(runs or [], analyse_group, out)
    if as_json:
        print_json(content)


def _comparison(paths: Sequence[Path], idle: str | None, strict: bool, settings: AnalysisSettings) -> Comparison:
    from passkwh.analysis.conventions import stated
    from passkwh.analysis.frames import load
    from passkwh.analysis.pooling import compare

    frames = load(paths, settings.convention)
    note(f"note: {stated(frames.runs, settings.energy)}")
    if idle is not None:
        from passkwh.analysis.idle_correction import with_idle

        frames = with_idle(frames, idle)
    comparison = compare(frames, strict)
    for text in comparison.notes:
        note(f"note: {text}")
    return comparison


def _group_by_group(
    runs: Sequence[Path], analyse_group: Callable[[Sequence[Path], Path | None], dict[str, Any]], out: Path | None
) -> dict[str, Any]:
    """All runs at once; of a study with parts that cannot be compared, each part for itself."""
    from passkwh.analysis.comparable_groups import comparable_groups

    groups, notes = comparable_groups(runs)
    for text in notes:
        note(f"note: {text}")
    if len(groups) == 1:
        return analyse_group(groups[0].paths, out)
    analysed = []
    for number, group in enumerate(groups, start=1):
        note(f"part {number} of {len(groups)}: {group.title} ({len(group.paths)} runs)")
        try:
            content = analyse_group(group.paths, None if out is None else out / f"part-{number}")
        except UsageError as error:  # one part without verdicts, for example, does not keep the others back
            note(f"part {number}: {error}")
            content = {"error": str(error)}
        analysed.append({"part": group.title, "runs": [str(path) for path in group.paths], **content})
    return {"parts": analysed}


def _deliver(
    outcome: ModeResult, out: Path | None, as_json: bool, comparison: Comparison | None = None
) -> dict[str, Any]:
    """Write the tables (and a comparison's runs and samples) where asked, print them, and return the JSON object."""
    for text in outcome.notes:
        note(text)
    content = outcome.content
    if out is not None:
        written = _write(outcome, out)
        note(f"{len(outcome.tables)} tables in {len(written)} files written to {out}")
        content = {**content, "written": [str(path) for path in written]}
        if comparison is not None:
            comparison.frames.run_table().to_csv(out / "runs.csv", index=False)
            comparison.samples().to_parquet(out / "samples.parquet", index=False)
    if not as_json:
        for one in outcome.tables if outcome.printed is None else outcome.printed:
            print_result(one)
    for text in outcome.remarks:
        note(text)
    return content


def _write(outcome: ModeResult, out: Path) -> list[Path]:
    import json

    from passkwh.analysis.tables import write_tables

    try:
        written = write_tables(outcome.tables, out)
        text = json.dumps(outcome.content, ensure_ascii=False, indent=1) + "\n"
        (out / "analysis.json").write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from error
    return written
