"""``bench analyze``: what differs between configurations, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli.output import note, print_json, print_table, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.footprint import Assumptions
    from passkwh.analysis.frames import Frames
    from passkwh.analysis.overview import Settings
    from passkwh.analysis.pooling import Comparison
    from passkwh.analysis.tables import Table

EXPERIMENTS = ("batch-size", "model-size", "fine-tuning", "awq", "gptq", "granularity")
SHOWN = ("headlines", "ranking_pass_at_kwh", "frontier", "footprint", "tests", "pairs")
"""Tables printed without --out; all are written with it."""


def analyze(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders, or folders that hold runs.")] = None,
    experiment: Annotated[str | None, typer.Option(help=f"One of the thesis's: {', '.join(EXPERIMENTS)}.")] = None,
    energy: Annotated[str, typer.Option(help="gross, or net of idle power.")] = "gross",
    idle: Annotated[str | None, typer.Option(help="Take net energy anew: none, before, mean, or watts.")] = None,
    margin: Annotated[float, typer.Option(help="Margin of pass@1 for 'no loss of accuracy'.")] = 0.02,
    budget_kwh: Annotated[float | None, typer.Option(help="Name the most accurate within this energy.")] = None,
    floor: Annotated[float | None, typer.Option(help="Name the thriftiest with at least this pass@1.")] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse runs whose task sets differ.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="How many tasks and repeats tell the first two apart.")] = False,
    effect: Annotated[float | None, typer.Option(help="For --plan: ratio - 1, or difference in pass@1.")] = None,
    power: Annotated[float, typer.Option(help="For --plan: wanted power.")] = 0.8,
    region: Annotated[str | None, typer.Option(help="Country whose grid's carbon intensity is used, as NLD.")] = None,
    pue: Annotated[
        float, typer.Option(help="Building's energy over that of its computers, for carbon and cost.")
    ] = 1.0,
    price: Annotated[float | None, typer.Option(help="Price of a kilowatt-hour, in any currency.")] = None,
    published: Annotated[Path | None, typer.Option(help="Check a CSV of published rows instead of runs.")] = None,
    family: Annotated[str, typer.Option(help="For --published: frontier of models whose name starts so.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write tables (CSV, Parquet, LaTeX), runs and samples here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Tests, intervals, rankings and the frontier of a set of runs."""
    if published is not None:
        if runs:
            raise UsageError("--published checks a file of rows and takes no runs: leave the run folders out")
        _published(published, family, out, as_json)
        return
    settings = settings_of(energy, resamples, seed, level, margin, budget_kwh, floor)
    if not 0 < power < 1:
        raise UsageError(f"--power {power}: give a number between 0 and 1, for example 0.8")
    if effect is not None and not plan:
        raise UsageError("--effect is what --plan is to find: add --plan")
    if family:
        raise UsageError("--family chooses among published rows: add --published FILE")
    if idle is not None and energy != "net":
        raise UsageError("--idle changes net energy: add --energy net")
    assumed = _assumptions(region, pue, price)
    if assumed is not None and (plan or experiment is not None):
        raise UsageError("--region, --pue and --price add to the overview: leave --plan and --experiment out")

    def one(paths: Sequence[Path], folder: Path | None) -> dict[str, Any]:
        from passkwh.analysis.frames import load
        from passkwh.analysis.pooling import compare

        frames = load(paths)
        if idle is not None:
            frames = _with_idle(frames, idle)
        comparison = compare(frames, strict)
        for text in comparison.notes:
            note(f"note: {text}")
        if plan:
            return _plan(comparison, settings, effect, power, folder, as_json)
        if experiment is not None:
            return _experiment(experiment, comparison, settings, folder, as_json)
        return _overview(comparison, settings, assumed, folder, as_json)

    content = _part_by_part(runs or [], one, out)
    if as_json:
        print_json(content)


def _part_by_part(
    runs: Sequence[Path], one: Callable[[Sequence[Path], Path | None], dict[str, Any]], out: Path | None
) -> dict[str, Any]:
    """All runs at once; of a study with parts that cannot be compared, each part for itself."""
    from passkwh.analysis.comparable_groups import parts

    found, notes = parts(runs)
    for text in notes:
        note(f"note: {text}")
    if len(found) == 1:
        return one(found[0].paths, out)
    analysed = []
    for number, part in enumerate(found, start=1):
        note(f"part {number} of {len(found)}: {part.title} ({len(part.paths)} runs)")
        try:
            content = one(part.paths, None if out is None else out / f"part-{number}")
        except UsageError as error:  # one part without verdicts, for example, does not keep the others back
            note(f"part {number}: {error}")
            content = {"error": str(error)}
        analysed.append({"part": part.title, "runs": [str(path) for path in part.paths], **content})
    return {"parts": analysed}


def _assumptions(region: str | None, pue: float, price: float | None) -> Assumptions | None:
    """What carbon and cost are computed with; None where neither was asked for."""
    from passkwh.analysis.footprint import Assumptions, grid

    if not 1 <= pue <= 10:
        raise UsageError(f"--pue {pue:g}: give a number from 1 (computers only) to 10; data centres have 1.1 to 2")
    if price is not None and not 0 <= price < 1e6:
        raise UsageError(f"--price {price:g}: give the price of a kilowatt-hour, 0 or more")
    if region is None and price is None:
        if pue != 1:
            raise UsageError("--pue changes carbon and cost: add --region or --price")
        return None
    return Assumptions(grid=grid(region) if region is not None else None, pue=pue, price_per_kwh=price)


def settings_of(
    energy: str, resamples: int, seed: int, level: float, margin: float, budget_kwh: float | None = None,
    floor: float | None = None,
) -> Settings:  # fmt: skip
    """Options of an analysis, checked."""
    from passkwh.analysis.overview import Settings

    if energy not in ("gross", "net"):
        raise UsageError(f"--energy {energy}: write gross or net")
    if not 0.5 < level < 1:
        raise UsageError(f"--level {level}: give a number between 0.5 and 1, for example 0.95")
    if not 0 < margin < 1:
        raise UsageError(f"--margin {margin}: give a difference of pass@1 between 0 and 1, for example 0.02")
    if budget_kwh is not None and not budget_kwh > 0:
        raise UsageError(f"--budget-kwh {budget_kwh:g}: give kilowatt-hours above 0")
    if floor is not None and not 0 <= floor <= 1:
        raise UsageError(f"--floor {floor:g}: give a pass@1 from 0 to 1")
    return Settings(
        energy="net" if energy == "net" else "gross", resamples=resamples, seed=seed, level=level, margin=margin,
        budget_kwh=budget_kwh, accuracy_floor=floor,
    )  # fmt: skip


def _with_idle(frames: Frames, idle: str) -> Frames:
    from passkwh.analysis.idle_correction import with_idle

    return with_idle(frames, idle)


def _overview(
    comparison: Comparison, settings: Settings, assumed: Assumptions | None, out: Path | None, as_json: bool
) -> dict[str, Any]:
    from passkwh.analysis.overview import analyse
    from passkwh.analysis.result_tables import analysis_tables

    result = analyse(comparison, settings)
    for text in result.notes[len(comparison.notes) :]:
        note(f"note: {text}")
    tables, content = analysis_tables(result), result.model_dump(mode="json")
    if assumed is not None:
        from passkwh.analysis.footprint import describe, footprint_table, footprints

        found = footprints([i for i in result.intervals if i.measure == "energy_kwh"], assumed)
        tables.append(footprint_table(found, assumed))
        content["footprint"] = {
            "assumed": assumed.model_dump(mode="json"),
            "rows": [f.model_dump(mode="json") for f in found],
        }
        note(f"note: carbon and cost are {describe(assumed)}")
    content = deliver(tables, [t for t in tables if t.name in SHOWN], content, out, as_json)
    if out is not None:
        comparison.frames.run_table().to_csv(out / "runs.csv", index=False)
        comparison.samples().to_parquet(out / "samples.parquet", index=False)
    for finding in result.findings:
        note(f"{finding.subject}: {finding.text}")
    return content


def _experiment(
    name: str, comparison: Comparison, settings: Settings, out: Path | None, as_json: bool
) -> dict[str, Any]:
    from passkwh.analysis.experiments import DESIGNS, run_experiment
    from passkwh.analysis.granularity import by_domain
    from passkwh.analysis.overview import analyse
    from passkwh.analysis.result_tables import analysis_tables, domain_table, experiment_tables

    if name == "granularity":
        rows = by_domain(comparison, settings.energy)
        if not rows:
            raise UsageError("experiment granularity needs runs of BigCodeBench: these tasks have no domains")
        result = analyse(comparison, settings)
        fits = [t for t in analysis_tables(result) if t.name == "assumptions" or t.name.endswith("_thesis")]
        tables = [domain_table(rows), *fits]
        content: dict[str, Any] = {
            "experiment": name,
            "domains": [row.model_dump(mode="json") for row in rows],
            "configurations": [c.model_dump(mode="json") for c in result.configurations],
        }
        return deliver(tables, tables, content, out, as_json)
    chosen = next((known for known in DESIGNS if known == name), None)
    if chosen is None:
        raise UsageError(f"--experiment {name}: there is none of that name; write one of {', '.join(EXPERIMENTS)}")
    found = run_experiment(chosen, comparison, settings.energy)
    tables = experiment_tables(found)
    return deliver(tables, tables, found.model_dump(mode="json"), out, as_json)


def _plan(
    comparison: Comparison, settings: Settings, effect: float | None, power: float, out: Path | None, as_json: bool
) -> dict[str, Any]:
    from passkwh.analysis.planning import MEASURES, plan
    from passkwh.analysis.result_tables import plan_table

    labels = comparison.labels()
    if len(labels) < 2:
        raise UsageError(f"--plan needs pilot runs of two configurations; these are all {labels[0]}")
    alpha = round(1 - settings.level, 12)
    plans, reasons = [], []
    for measure in MEASURES:
        try:
            plans.append(plan(comparison, labels[0], labels[1], measure, effect, power, alpha, settings.energy))
        except UsageError as error:
            reasons.append(str(error))
    if not plans:
        raise UsageError(reasons[0])
    for reason in reasons:
        note(f"note: {reason}")
    for text in dict.fromkeys(text for p in plans for text in p.notes):
        note(f"note: {text}")
    tables = [plan_table(p) for p in plans]
    return deliver(tables, tables, {"plans": [p.model_dump(mode="json") for p in plans]}, out, as_json)


def _published(path: Path, family: str, out: Path | None, as_json: bool) -> None:
    from passkwh.analysis.published import check, read
    from passkwh.analysis.result_tables import published_tables

    report = check(read(path), family)
    tables = published_tables(report)
    content = deliver(tables, tables, report.model_dump(mode="json"), out, as_json)
    for text in report.oddities:
        note(f"inconsistent: {text}")
    if as_json:
        print_json(content)


def deliver(
    tables: list[Table], shown: list[Table], content: dict[str, Any], out: Path | None, as_json: bool
) -> dict[str, Any]:
    """Write the tables where asked, and print them unless JSON is wanted; the object to be printed then."""
    if out is not None:
        import json

        from passkwh.analysis.tables import write_tables

        try:
            written = write_tables(tables, out)
            (out / "analysis.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from error
        note(f"{len(tables)} tables in {len(written)} files written to {out}")
        content = {**content, "written": [str(path) for path in written]}
    if not as_json:
        for one in shown:
            show(one)
    return content


def show(one: Table) -> None:
    """Print a table for people."""
    from passkwh.analysis.tables import text_rows

    right = [i for i, column in enumerate(one.columns) if column.style != "text"]
    print_table(table(one.title, [column.name for column in one.columns], text_rows(one), right))
