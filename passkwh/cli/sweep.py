"""``bench sweep``: a study, from its file to complete runs; and how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passkwh.cli.output import duration, note, number, print_json, print_table, table
from passkwh.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from passkwh.harness.sweep.folder import StudyFolder
    from passkwh.harness.sweep.preflight import Preflight
    from passkwh.harness.sweep.status import RunStatus, StudyStatus
    from passkwh.harness.sweep.study import Study

STUDY_HELP = "A study file (TOML), a ready-made study (see --list), or the word status."
FOLDER_HELP = "After status: the study folder; every study in --out when left out."

TABLE_RUNS = 60
"""A table has at most so many runs: nobody reads a thousand rows, and drawing them takes longer than finding them."""


def sweep(
    study: Annotated[str | None, typer.Argument(help=STUDY_HELP)] = None,
    folder: Annotated[Path | None, typer.Argument(help=FOLDER_HELP)] = None,
    out: Annotated[Path, typer.Option(help="Where the study's folder is made.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, what it takes, what lacks.")] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --dry-run: reckon with this device (see bench estimate).")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Carry it out on this Ray cluster; auto is the one here.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="With --ray: collect run folders there (s3://..., /shared).")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the ready-made studies.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Carry out a study: every run in its own process, resumed where it was left. Ctrl-C finishes the batch."""
    if list_:
        _list(as_json)
        return
    if study is None:
        raise UsageError("name a study file or a ready-made study (bench sweep --list), or write bench sweep status")
    if study == "status":
        _status(folder, out, as_json)
        return
    if folder is not None:
        raise UsageError(f"one study at a time: {folder} is one too many (its runs go to --out)")
    if gpu is not None and not dry_run:
        raise UsageError("--gpu is for reckoning: add --dry-run")
    if storage is not None and ray is None:
        raise UsageError("--storage collects what other machines have made: add --ray")
    if ray is not None and dry_run:
        raise UsageError("--dry-run looks at this host alone: leave out --ray")
    from passkwh.harness.sweep.study import read

    asked = read(study)
    if ray is not None:
        _on_ray(asked, ray, storage, out, as_json)
        return
    from passkwh.harness.sweep.preflight import preflight

    found = preflight([configuration.spec for configuration in asked.configurations])
    if dry_run:
        from passkwh.cli.forecast import dry_run as show

        show(asked, found, out, gpu, as_json)
        return
    _here(asked, found, out, as_json)


def _here(study: Study, found: Preflight, out: Path, as_json: bool) -> None:
    from passkwh.harness.sweep.drive import begin, drive, refuse_problems
    from passkwh.harness.sweep.supervise import Signals

    folder = begin(study, refuse_problems(study, [found]), out)
    try:
        with Signals() as signals:
            why = drive(folder, study, note, signals)
    finally:
        folder.close()
    _end(folder, why, as_json)


def _on_ray(study: Study, address: str, storage: str | None, out: Path, as_json: bool) -> None:
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingExtra("--ray", "cluster")
    from passkwh.harness.sweep.cluster import Cluster, Dispatch
    from passkwh.harness.sweep.drive import begin, refuse_problems
    from passkwh.harness.sweep.supervise import Signals

    cluster = Cluster(address)
    try:
        found = cluster.preflight([configuration.spec for configuration in study.configurations])
        folder = begin(study, refuse_problems(study, list(found.values())), out)
        try:
            for text in unlike_hosts(found.values()):
                note(f"note: {text}")
            with Signals() as signals:
                why = Dispatch(cluster, folder, study, storage, note).drive(found, signals)
        finally:
            folder.close()
    finally:
        cluster.close()
    _end(folder, why, as_json)


def unlike_hosts(found: Iterable[Preflight]) -> list[str]:
    """What to say where a cluster's nodes are not alike."""
    kinds = {", ".join([p.host.cpu, *(gpu.name for gpu in p.host.gpus)]) for p in found}
    if len(kinds) < 2:
        return []
    return [
        f"nodes of {len(kinds)} kinds ({'; '.join(sorted(kinds))}): energies of different kinds are never compared or "
        "pooled; to have all runs on one kind, name it in the study file ([resources] accelerator)"
    ]


def _end(folder: StudyFolder, why: str | None, as_json: bool) -> None:
    from passkwh.harness.sweep.status import study_status

    status = study_status(folder)
    if as_json:
        print_json({**status.model_dump(mode="json"), "complete": status.complete, "ended": why})
    else:
        _show_status(status)
    if why == "interrupted":
        note("interrupted: the same command goes on from here")
        raise typer.Exit(130)
    if why is not None:
        note(f"given up: {why}; the same command goes on from here")
    if not status.complete:
        raise typer.Exit(1)
    note(f"next: bench report {status.folder}")


def _list(as_json: bool) -> None:
    from passkwh.harness.sweep.study import names, read

    studies = [(name, read(name)) for name in names()]
    if as_json:
        print_json({"studies": [{"name": n, "description": s.settings.description} for n, s in studies]})
        return
    rows = [
        [name, str(len(study.configurations)), str(study.settings.repeats), study.settings.description]
        for name, study in studies
    ]
    print_table(table("ready-made studies", ["study", "configurations", "repeats", "what"], rows, right=[1, 2]))


# ---------------------------------------------------------------- status


def _status(folder: Path | None, out: Path, as_json: bool) -> None:
    from passkwh.harness.sweep.folder import StudyFolder, is_study
    from passkwh.harness.sweep.status import study_status

    paths = [folder] if folder is not None else sorted(path for path in out.glob("*") if is_study(path))
    if not paths:
        raise UsageError(f"there is no study in {out}: begin one with bench sweep STUDY, or name its folder")
    found = [study_status(StudyFolder.open(path)) for path in paths]
    if as_json:
        shown = [{**status.model_dump(mode="json"), "complete": status.complete} for status in found]
        print_json(shown[0] if folder is not None else {"studies": shown})
        return
    for status in found:
        _show_status(status)


def _show_status(status: StudyStatus) -> None:
    rows = []
    for run in _worth_showing(status.runs):
        progress = f"{run.stage} {run.done}/{run.total}" if run.total else run.stage or ""
        rows.append(
            [
                run.run_id,
                run.state,
                progress if run.state == "running" else "",
                number(run.elapsed_s, 3, "s"),
                number(run.gross_energy_j, 4, "J"),
                run.provenance or "",
                number(run.pass_at_1),
                f"{run.kind}: {run.reason}" if run.kind and run.kind != run.state else run.reason or "",
            ]
        )
    columns = ["run", "state", "progress", "time", "energy", "provenance", "pass@1", "reason"]
    print_table(table(f"{status.study} ({status.folder})", columns, rows, right=[3, 4, 6]))
    if len(rows) < len(status.runs):
        print(f"… and {len(status.runs) - len(rows)} more, which --json has")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(status.counts.items()))
    energy = f"{number(status.gross_energy_j, 4, 'J')} so far"
    if status.provenance:
        energy += f" ({status.provenance})"
    if status.without_energy:
        energy += f", {status.without_energy} runs without energy"
    left = f"; left: about {duration(status.left_s)}" if status.left_s else ""  # none where only damaged ones are left
    at_work = "at work" if status.driven else "nobody is at work on it"
    print(f"{len(status.runs)} runs: {counts}; {energy}{left}" + ("" if status.complete else f"; {at_work}"))


def _worth_showing(runs: Sequence[RunStatus]) -> list[RunStatus]:
    """All runs of a small study; of a large one those that go on or went wrong, and the latest that are complete."""
    if len(runs) <= TABLE_RUNS:
        return list(runs)
    telling = [run for run in runs if run.state not in ("complete", "waiting")][:TABLE_RUNS]
    complete = [run for run in runs if run.state == "complete"]
    return telling + complete[len(complete) - min(len(complete), TABLE_RUNS - len(telling)) :]
