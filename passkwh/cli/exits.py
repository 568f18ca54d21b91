"""``bench exits``: what leaving early saved and cost, run by run, and how far each rule is from the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passkwh.cli.output import note, number, print_json, print_table, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.exits import ExitStudy, Leaving


def exits(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs, with and without --exit.")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Quality to compare; default: ROUGE-L, CodeBLEU, exact match.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write charts here, each as SVG, PNG and HTML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Exit layers, energy and quality of runs that leave early, against all layers and against the oracle."""
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.analysis.exits import study
    from passkwh.analysis.frames import load

    paths, left_out = complete_runs(runs)
    for text in left_out:
        note(f"note: {text}")
    found = study(load(paths), metric or ())
    written = []
    if out is not None:
        from passkwh.reports.exits import write

        try:
            written = write(found, out)
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from error
    for text in found.notes:
        note(f"note: {text}")
    if as_json:
        print_json(
            {
                "configurations": [c.model_dump(mode="json") for c in found.configurations],
                "oracle": [d.model_dump(mode="json") for d in found.oracle],
                "metrics": list(found.metrics),
                "notes": list(found.notes),
                "files": [str(file) for file in written],
            }
        )
        return
    _print_configurations(found)
    _print_histograms(found)
    if found.oracle:
        _print_oracle(found)
    if written:
        note(f"{len(written)} files in {out}")


def _print_configurations(found: ExitStudy) -> None:
    order = [c for c in found.configurations if c.rule == "none"] + found.fixed()
    order += [c for some in found.sweeps().values() for c in some]
    order += [c for c in found.configurations if c.rule == "oracle"]
    columns = [
        "configuration",
        "mean exit",
        "skipped",
        *found.metrics,
        f"net J, {found.provenance}",
        "net saved",
        "time saved",
        "tokens/s",
    ]
    rows = [
        [
            c.label,
            number(c.mean_exit_layer),
            _percent(c.layers_skipped),
            *(number(c.quality[name]) + _change(c, name) for name in found.metrics),
            number(c.generation_net_j, 4),
            _percent(c.net_saved),
            _percent(c.time_saved),
            number(c.tokens_per_s),
        ]
        for c in order
    ]
    print_table(table("leaving early", columns, rows, right=list(range(1, len(columns)))))


def _print_histograms(found: ExitStudy) -> None:
    """Shares of decoded tokens by exit; a fixed exit has only one."""
    shown = [c for c in found.configurations if len(c.exit_shares) > 1]
    if not shown:
        return
    layers = sorted({layer for c in shown for layer in (*c.exits, *c.exit_shares)})
    rows = [[c.label, *(_percent(c.exit_shares.get(layer, 0.0)) for layer in layers)] for c in shown]
    columns = ["decoded tokens by exit", *map(str, layers)]
    print_table(table(None, columns, rows, right=list(range(1, len(columns)))))


def _print_oracle(found: ExitStudy) -> None:
    columns = ["against the oracle", "layers above", "same texts", "of their tokens: at its exit", "later", "earlier"]
    rows = [
        [
            d.label, number(d.mean_layers_above), str(d.same_texts), _percent(d.at), _percent(d.later),
            _percent(d.earlier),
        ]
        for d in found.oracle
    ]  # fmt: skip
    print_table(table(None, columns, rows, right=[1, 2, 3, 4, 5]))


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _change(c: Leaving, name: str) -> str:
    lost = c.quality_lost.get(name)
    return "" if lost is None else f" ({-lost:+.1%})"
