"""``bench sweep``: a study, from its file to complete runs; how far studies are; and which are ready-made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from passkwh.cli import complete
from passkwh.cli.options import AsJson, out_folder
from passkwh.cli.output import duration, note, number, print_json, print_table, table
from passkwh.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from passkwh.harness.sweep.launch import Launcher
    from passkwh.harness.sweep.ledger import Ledger
    from passkwh.harness.sweep.preflight import Preflight
    from passkwh.harness.sweep.status import RunStatus, StudyStatus
    from passkwh.harness.sweep.study import Study
    from passkwh.harness.sweep.supervise import StopSignals

TABLE_RUNS = 60
"""A table has at most so many runs: nobody reads a thousand rows, and drawing them takes longer than finding them."""


class _Commands(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            commands = ", ".join(f"bench sweep {name}" for name in self.commands)
            raise UsageError(
                f"bench sweep has no command {args[0]!r}: to carry out a study write bench sweep run {' '.join(args)} "
                f"(there are {commands})"
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Commands, no_args_is_help=True, help="Studies: many runs, each resumed where it was left.")


@app.command()
def run(
    study: Annotated[
        str,
        typer.Argument(
            help="A study file (TOML), or a ready-made study (bench sweep list).", autocompletion=complete.studies
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A value in place of the file's, as benchmark.data=FILE, limit=20 or resources.gpus=0; repeatable.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the study's folder is made.", callback=out_folder)] = Path("runs"),
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
    as_json: AsJson = False,
) -> None:
    """Carry out a study: every run in its own process, resumed where it was left. Ctrl-C finishes the batch."""
    if gpu is not None and not dry_run:
        raise UsageError("--gpu is for reckoning: add --dry-run")
    if storage is not None and ray is None:
        raise UsageError("--storage collects what other machines have made: add --ray")
    if ray is not None and dry_run:
        raise UsageError("--dry-run looks at this host alone: leave out --ray")
    from passkwh.harness.sweep.study import read

    wanted = read(study, assignments or ())
    if ray is not None:
        _on_ray(wanted, ray, storage, out, as_json)
        return
    from passkwh.harness.sweep.preflight import preflight

    here = preflight([configuration.spec for configuration in wanted.configurations])
    if dry_run:
        from passkwh.cli import sweep_dry_run

        sweep_dry_run.dry_run(wanted, here, out, gpu, as_json)
        return
    from passkwh.harness.sweep.local import LocalLauncher

    _carry_out(wanted, [here], LocalLauncher, out, as_json)


def _on_ray(study: Study, address: str, storage: str | None, out: Path, as_json: bool) -> None:
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingExtra("--ray", "cluster")
    from passkwh.harness.sweep.ray_launcher import Cluster, RayLauncher, unlike_hosts

    cluster = Cluster(address)
    try:
        nodes = cluster.preflight([configuration.spec for configuration in study.configurations])
        if (text := unlike_hosts(nodes.values())) is not None:
            note(f"note: {text}")
        _carry_out(study, list(nodes.values()), partial(RayLauncher, cluster, nodes, study, storage), out, as_json)
    finally:
        cluster.close()


def _carry_out(
    study: Study,
    hosts: Sequence[Preflight],
    make_launcher: Callable[[Ledger, StopSignals], Launcher],
    out: Path,
    as_json: bool,
) -> None:
    from passkwh.harness.sweep.launch import carry_out
    from passkwh.harness.sweep.ledger import Ledger, begin, refuse_problems
    from passkwh.harness.sweep.status import study_status
    from passkwh.harness.sweep.supervise import StopSignals

    folder = begin(study, refuse_problems(study, hosts), out)
    try:
        with StopSignals() as signals:
            ledger = Ledger(folder, study.settings, note)
            why = carry_out(make_launcher(ledger, signals), ledger, signals)
    finally:
        folder.close()
    now = study_status(folder)
    if as_json:
        print_json({**now.model_dump(mode="json"), "complete": now.complete, "ended": why})
    else:
        _show_status(now)
    if why == "interrupted":
        note("interrupted: the same command goes on from here")
        raise typer.Exit(130)
    if why is not None:
        note(f"given up: {why}; the same command goes on from here")
    if not now.complete:
        raise typer.Exit(1)
    note(f"next: bench report {now.folder}")


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Name the ready-made studies."""
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


@app.command()
def status(
    folder: Annotated[Path | None, typer.Argument(help="The study folder; every study in --out when left out.")] = None,
    out: Annotated[Path, typer.Option(help="Where the studies' folders are.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """How far studies are, also while they are carried out."""
    from passkwh.harness.sweep.folder import StudyFolder, is_study
    from passkwh.harness.sweep.status import study_status

    paths = [folder] if folder is not None else sorted(path for path in out.glob("*") if is_study(path))
    if not paths:
        raise UsageError(f"there is no study in {out}: begin one with bench sweep run STUDY, or name its folder")
    studies = [study_status(StudyFolder.open(path)) for path in paths]
    if as_json:
        shown = [{**study.model_dump(mode="json"), "complete": study.complete} for study in studies]
        print_json(shown[0] if folder is not None else {"studies": shown})
        return
    for study in studies:
        _show_status(study)


def _show_status(study: StudyStatus) -> None:
    rows = []
    for entry in _worth_showing(study.runs):
        progress = f"{entry.stage} {entry.done}/{entry.total}" if entry.total else entry.stage or ""
        rows.append(
            [
                entry.run_id,
                entry.state,
                progress if entry.state == "running" else "",
                number(entry.elapsed_s, 3, "s"),
                number(entry.gross_energy_j, 4, "J"),
                entry.provenance or "",
                number(entry.pass_at_1),
                f"{entry.kind}: {entry.reason}" if entry.kind and entry.kind != entry.state else entry.reason or "",
            ]
        )
    columns = ["run", "state", "progress", "time", "energy", "provenance", "pass@1", "reason"]
    print_table(table(f"{study.study} ({study.folder})", columns, rows, right=[3, 4, 6]))
    if len(rows) < len(study.runs):
        print(f"… and {len(study.runs) - len(rows)} more, which --json has")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(study.counts.items()))
    energy = f"{number(study.gross_energy_j, 4, 'J')} so far"
    if study.provenance:
        energy += f" ({study.provenance})"
    if study.without_energy:
        energy += f", {study.without_energy} runs without energy"
    left = f"; left: about {duration(study.left_s)}" if study.left_s else ""  # none where only damaged ones are left
    at_work = "at work" if study.driven else "nobody is at work on it"
    print(f"{len(study.runs)} runs: {counts}; {energy}{left}" + ("" if study.complete else f"; {at_work}"))


def _worth_showing(runs: Sequence[RunStatus]) -> list[RunStatus]:
    """All runs of a small study; of a large one those that go on or went wrong, and the latest that are complete."""
    if len(runs) <= TABLE_RUNS:
        return list(runs)
    telling = [run for run in runs if run.state not in ("complete", "waiting")][:TABLE_RUNS]
    complete = [run for run in runs if run.state == "complete"]
    return telling + complete[len(complete) - min(len(complete), TABLE_RUNS - len(telling)) :]
