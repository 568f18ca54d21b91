"""``bench leaderboard``: pack runs, check and review submissions, build and preview the site, keep it in git."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.options import out_folder
from passkwh.cli.output import note, print_json, say
from passkwh.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Share runs, and put them on a board.")

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")]


@app.command()
def pack(
    runs: Annotated[list[Path], typer.Argument(help="Finished run folders, or folders that hold them, as a study.")],
    out: Annotated[Path, typer.Option(help="Folder for the packs.", callback=out_folder)] = Path("submissions"),
    as_json: JsonOption = False,
) -> None:
    """Make one file of each finished run, after checking it as a leaderboard will."""
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
    from passkwh.reports.leaderboard.validate import check_members

    made: list[str] = []
    refused = False
    run_folders, notes = complete_runs(runs)
    for text in notes:
        note(f"note: {text}")
    with LiveProgress("pack", AFTER_S) as live:
        for run in live.each("check and pack runs", run_folders, len(run_folders)):
            members = members_of(run)
            checked = check_members(run, "", members)
            for finding in checked.findings:
                note(f"{run}: {finding}")
            if not checked.valid:
                refused = True
                continue
            target = out / f"{run.resolve().name}{SUFFIX}"
            write_pack(members, target)
            made.append(str(target))
    if as_json:
        print_json({"packs": made, "refused": refused})
    elif made:
        say("\n".join(made))
    if refused:
        raise typer.Exit(1)


@app.command()
def validate(
    packs: Annotated[list[Path], typer.Argument(help="Packs, or folders that hold packs.")],
    as_json: JsonOption = False,
) -> None:
    """Check packs: schema, checksums, pass@k from the verdicts, energy from the trace, plausibility."""
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.reports.leaderboard.duplicates import duplicates
    from passkwh.reports.leaderboard.validate import validate as check

    paths = find_packs(packs)
    with LiveProgress("validate", AFTER_S) as live:
        checked = [check(path) for path in live.each("check packs", paths, len(paths))]
    again = duplicates([(one.path, one.fingerprint) for one in checked if one.valid])
    rows = []
    for one in checked:
        findings = [*one.findings, *([again[one.path]] if one.path in again else [])]
        valid = one.valid and one.path not in again
        rows.append({"pack": str(one.path), "valid": valid, "findings": [f.model_dump() for f in findings]})
        if not as_json:
            say(f"{one.path}: {'valid' if valid else 'refused'}")
            for finding in findings:
                say(f"  {finding}")
    if as_json:
        print_json({"valid": all(row["valid"] for row in rows), "packs": rows})
    if not all(row["valid"] for row in rows):
        raise typer.Exit(1)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the board: new, or a git repository without these files.")],
    title: Annotated[str, typer.Option(help="Name of the board.")] = "pass@kWh leaderboard",
    install: Annotated[
        str | None, typer.Option(help="What `pip install` is given in the workflows. Default: this version of passkwh.")
    ] = None,
) -> None:
    """Make the folder of a board kept on GitHub: packs/, and workflows that check pull requests and publish."""
    from passkwh.reports.leaderboard.repository import requirement, write_repository

    for path in write_repository(folder, title, install or requirement()):
        say(str(path))
    if install is None and "==" not in requirement():
        note("this is no release of passkwh: the workflows install the newest one, unless --install names another")
    note(f"push {folder} to GitHub, branch main; its README says which settings a board needs")


@app.command()
def review(
    packs: Annotated[Path, typer.Argument(help="The folder of packs, with the submission in it.")],
    base: Annotated[Path | None, typer.Option(help="The folder of packs without the submission.")] = None,
    changed: Annotated[
        list[Path] | None,
        typer.Option(help="In place of --base: a file of the folder that the submission adds or changes (repeatable)."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Where results are kept by content. Default: ~/.cache.")] = None,
    convention: Annotated[
        str, typer.Option(help="Which energy leads, as for `build`.", autocompletion=complete.conventions)
    ] = "passkwh",
    as_json: JsonOption = False,
) -> None:
    """Say what a submission would do to a board, as Markdown: what is refused, and which rows come, change or go, at
    which rank. Exit code 1 where something is refused."""
    from passkwh.analysis import conventions
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.harness.progress import Steps
    from passkwh.reports.leaderboard.cache import default_place
    from passkwh.reports.leaderboard.review import review as compare
    from passkwh.reports.leaderboard.review_text import as_dict, markdown

    if (base is None) == (not changed):
        raise UsageError("give --base FOLDER, or --changed FILE for every file of the submission")
    by = conventions.convention(convention)
    place = cache or default_place()
    with LiveProgress("review", AFTER_S) as live:
        reviewed = compare(packs, place, base=base, changed=changed or [], by=by, count=Steps(live).count)
    if as_json:
        print_json(as_dict(reviewed))
    else:
        say(markdown(reviewed))
    if not reviewed.accepted:
        raise typer.Exit(1)


@app.command()
def build(
    submissions: Annotated[
        list[Path] | None, typer.Argument(help="Packs, or folders that hold packs; without any, published rows only.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the site.", callback=out_folder)] = Path("site"),
    title: Annotated[str, typer.Option(help="Name of the board.")] = "pass@kWh leaderboard",
    published: Annotated[bool, typer.Option(help="Show the rows of the thesis and of GREEN-CODE, marked.")] = True,
    cache: Annotated[Path | None, typer.Option(help="Where results are kept by content. Default: ~/.cache.")] = None,
    convention: Annotated[
        str,
        typer.Option(
            help="Which energy leads: passkwh, thesis or green-code, see `bench analyze --help`.",
            autocompletion=complete.conventions,
        ),
    ] = "passkwh",
    url: Annotated[
        str, typer.Option(help="Where the site will stand, as https://HOST/FOLDER: for its feed and citations.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a static site of all valid packs: it opens from disk and from any host."""
    from passkwh.analysis import conventions
    from passkwh.cli.live import AFTER_S, LiveProgress
    from passkwh.harness.progress import Steps
    from passkwh.reports.leaderboard.addresses import board_url
    from passkwh.reports.leaderboard.build import build as build_site
    from passkwh.reports.leaderboard.cache import default_place

    by, stands = conventions.convention(convention), board_url(url)
    packs = find_packs(submissions) if submissions else []
    place = cache or default_place()
    with LiveProgress("build", AFTER_S) as live:
        site = build_site(
            packs, out, place, title=title, published=published, by=by, url=stands, count=Steps(live).count
        )
    for pack in site.refused:
        note(f"refused {pack.path}")
        for finding in pack.findings:
            note(f"  {finding}")
    if as_json:
        print_json(
            {
                "index": str(site.index),
                "rows": len(site.rows),
                "published": sum(row.runs == 0 for row in site.rows),
                "refused": [str(pack.path) for pack in site.refused],
                "from_cache": site.looked_up,
            }
        )
    else:
        say(str(site.index.resolve()))
    if not stands:
        note("no feed.xml, and no addresses in citations: give --url, where the site will stand, to have them")
    if packs and all(row.runs == 0 for row in site.rows):
        note(f"error: all {len(site.refused)} packs were refused, for the reasons above: none is on the board")
        raise typer.Exit(1)


@app.command()
def serve(
    submissions: Annotated[list[Path], typer.Argument(help="Packs, or folders that hold packs.")],
    out: Annotated[Path, typer.Option(help="Folder of the site.", callback=out_folder)] = Path("site"),
    title: Annotated[str, typer.Option(help="Name of the board.")] = "pass@kWh leaderboard",
    published: Annotated[bool, typer.Option(help="Show the rows of the thesis and of GREEN-CODE, marked.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
) -> None:
    """Preview the site on this machine; it is built again whenever a pack changes. End with Ctrl-C."""
    from passkwh.reports.leaderboard.build import build as build_site
    from passkwh.reports.leaderboard.cache import default_place
    from passkwh.reports.leaderboard.serve import Preview

    def rebuild() -> None:
        try:
            site = build_site(find_packs(submissions), out, default_place(), title=title, published=published)
        except UsageError as error:  # a pack that is just being copied: the next change builds again
            note(f"not built: {error}")
        else:
            note(f"built {len(site.rows)} rows; refused: {', '.join(p.path.name for p in site.refused) or 'none'}")

    find_packs(submissions)
    rebuild()
    preview = Preview(out, lambda: [pack for path in submissions for pack in _packs_in(path)], rebuild, port)
    print(preview.address, flush=True)
    try:
        preview.run()
    except KeyboardInterrupt:
        note("ended")


def find_packs(paths: list[Path]) -> list[Path]:
    """Packs as given; a folder stands for all packs in it, at any depth, by name."""
    from passkwh.reports.leaderboard.pack import SUFFIX

    packs: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no {path}: give packs (*{SUFFIX}), or folders that hold packs")
        inside = _packs_in(path)
        if not inside:
            raise UsageError(
                f"{path} holds no pack (*{SUFFIX}): make them of runs or a study with `bench leaderboard pack`"
            )
        packs += inside
    return packs


def _packs_in(path: Path) -> list[Path]:
    from passkwh.reports.leaderboard.pack import SUFFIX

    return sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
