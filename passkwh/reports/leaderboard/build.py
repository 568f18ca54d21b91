"""The site: static files that open from disk or any host, made from valid packs and published rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq

from passkwh import __version__
from passkwh.analysis.conventions import OURS, Convention
from passkwh.analysis.deadline import LATENCIES
from passkwh.analysis.footprint import grids
from passkwh.clean import cell, clean
from passkwh.errors import UsageError
from passkwh.registry import QUANTIZATIONS
from passkwh.reports.leaderboard import feed, page
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.cells import columns, flat, schema
from passkwh.reports.leaderboard.configurations import Configuration, configurations
from passkwh.reports.leaderboard.escape import script_json
from passkwh.reports.leaderboard.findings import Finding
from passkwh.reports.leaderboard.ingest import Pack, inspect
from passkwh.reports.leaderboard.plain import plain_groups
from passkwh.reports.leaderboard.published import published_rows
from passkwh.reports.leaderboard.rows import ACCURACY, MEASURES, Row, with_savings
from passkwh.reports.leaderboard.workers import Count, Workers

MARKER = ".passkwh-leaderboard"
"""Stands in a folder that we may write and tidy."""
STATIC = ("style.css", "theme.js", "links.js", "stats.js", "data.js", "chart.js", "plane.js", "compare.js", "board.js")
SCRIPTS = ("links.js", "stats.js", "data.js", "chart.js", "plane.js", "compare.js", "board.js")
PLAIN_ROWS = 200
"""The first page shows so many rows without scripts; the plain table has all."""


@dataclass(frozen=True)
class Site:
    """What was built."""

    index: Path
    rows: tuple[Row, ...]
    refused: tuple[Pack, ...]
    looked_up: int
    """Configurations that had been worked out before."""


def build(
    packs: Sequence[Path],
    out: Path,
    cache_place: Path,
    *,
    title: str,
    published: bool,
    by: Convention = OURS,
    url: str = "",
    count: Count = lambda what, done, of: None,
) -> Site:
    """Check packs, work out configurations with energies ``by`` a convention, and write the site to ``out``.

    ``url`` is where the site will stand, as :func:`~passkwh.reports.leaderboard.addresses.board_url` gives it; empty
    where that is not known.
    ``count`` is told how far that is.

    Raises:
        UsageError: when a pack cannot be read or ``out`` holds something else.
    """
    _check_place(out)
    known, common = Cache(cache_place), _common(title, by, url)
    with Workers(count) as workers:
        inspected = inspect(packs, known, workers, by)
        for folder in ("c", "data"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text("made by bench leaderboard build; may be deleted\n", "utf-8")
        made = configurations(inspected, known, workers, partial(_write_configuration, out, common))
    _tidy(out, {row.id for row, _ in made})
    rows = [*with_savings([row for row, _ in made]), *(published_rows() if published else ())]
    refused = [pack for pack in inspected if pack.run is None]
    _write_pages(out, _environment(), common, rows, refused)
    _write_downloads(out, rows)
    _write_feed(out, rows, title, url)
    for name in STATIC:
        _write(out / name, _site(name))
    return Site(out / "index.html", tuple(rows), tuple(refused), sum(was_known for _, was_known in made))


def board_data(rows: Sequence[Row]) -> dict[str, Any]:
    """All rows for the page's scripts, by columns; texts that repeat are stored once."""
    texts = {
        name: _dictionary([getattr(row, name) for row in rows])
        for name in (
            "model", "family", "tuning", "quant", "exit", "thinking_mode", "engine", "hardware", "benchmark",
            "provenance", "source", "place",
            "tasks_key", "hardware_key", "label", "saved_against", "making_provenance",
        )
    }  # fmt: skip
    shown = columns(rows)
    latencies = [name for name in LATENCIES if any(name in row.measures for row in rows)]
    figures = {name: _parts(rows, name) for name in dict.fromkeys((*shown, *latencies))}
    return {
        "ids": [row.id for row in rows],
        "texts": texts,
        "numbers": {
            name: [getattr(row, name) for row in rows]
            for name in (
                "parameters",
                "batch_size",
                "concurrency",
                "saved",
                "saved_same_weights",
                "making_j",
                "solved_to_pay_back",
                "runs",
            )
        },
        "warnings": [len(row.warnings) for row in rows],
        "pages": [int(row.page) for row in rows],
        "ranks": [row.ranks for row in rows],
        "figures": figures,
        "measures": {name: [MEASURES[name].label, MEASURES[name].unit, MEASURES[name].better] for name in shown},
        "latencies": [[name, MEASURES[name].label] for name in latencies],
        "limits": [MEASURES[name].limits for name in shown if MEASURES[name].limits],
        "accuracy": [name for name in ACCURACY if name in figures],
        "quants": _in_registry_order({row.quant for row in rows}),
        "grids": [[g.region, g.name, g.gco2e_per_kwh, g.year] for g in sorted(grids().values(), key=lambda g: g.name)],
        "grid_source": next(iter(grids().values())).source,
    }


def _parts(rows: Sequence[Row], name: str) -> list[list[float | None] | None]:
    """Values, low and high ends of a measure, one for each row; None in place of ends that no row has."""
    cells = [row.measures.get(name) for row in rows]
    parts = [[None if cell is None else getattr(cell, part) for cell in cells] for part in ("value", "low", "high")]
    return [parts[0], *(ends if any(end is not None for end in ends) else None for ends in parts[1:])]


def _in_registry_order(quants: set[str]) -> list[str]:
    """Quantizations in the order in which colours are given out: dense, those of the registry, others."""
    known = ["none", *QUANTIZATIONS.names()]
    return [name for name in known if name in quants] + sorted(quants.difference(known))


# ---------------------------------------------------------------- pages


def _write_configuration(out: Path, common: dict[str, Any], configuration: Configuration) -> None:
    """The page of a configuration, and its tasks for comparing it."""
    row = configuration.row
    template = _environment().get_template("configuration.html.j2")
    _write(out / "c" / f"{row.id}.html", page.render(configuration, template, {**common, "root": "../"}))
    _write(out / "data" / f"{row.id}.js", configuration.task_script)


def _common(title: str, by: Convention, url: str) -> dict[str, Any]:
    shown = {"title": title, "convention": by.describe(), "version": __version__, "root": "", "created": ""}
    return {**shown, "url": url}


def _write_pages(
    out: Path, environment: jinja2.Environment, common: dict[str, Any], rows: Sequence[Row], refused: Sequence[Pack]
) -> None:
    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    shown = {**common, "created": created}
    index = environment.get_template("index.html.j2").render(
        **shown,
        counts={"measured": sum(row.runs > 0 for row in rows), "published": sum(row.runs == 0 for row in rows)},
        groups=plain_groups(rows, PLAIN_ROWS),
        refused=[{"name": pack.path.name, "why": _why(pack.findings)} for pack in refused],
        data=script_json(board_data(rows)),
        scripts=SCRIPTS,
    )
    _write(out / "index.html", index)
    plain = environment.get_template("table.html.j2").render(**shown, groups=plain_groups(rows, len(rows)))
    _write(out / "table.html", plain)
    # Hosts show it wherever nothing is: pages that can go stand one folder down.
    gone = environment.get_template("404.html.j2").render(
        **{**common, "root": f"{common['url']}/" if common["url"] else "../"}
    )
    _write(out / "404.html", gone)


def _write_feed(out: Path, rows: Sequence[Row], title: str, url: str) -> None:
    """The feed, which names pages by their whole address; none where that is not known."""
    if url:
        _write(out / feed.NAME, feed.feed(rows, title, url))
    else:
        (out / feed.NAME).unlink(missing_ok=True)


def _why(findings: Iterable[Finding]) -> str:
    errors = [f for f in findings if f.severity == "error"]
    place = f"{errors[0].file}{', ' + errors[0].field if errors[0].field else ''}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place} {errors[0].seen}; {errors[0].fix}{more}"


def _write_downloads(out: Path, rows: Sequence[Row]) -> None:
    lines = [flat(row) for row in rows]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(lines[0] if lines else ["id"])
    writer.writerows([cell(value) if isinstance(value, str) else value for value in line.values()] for line in lines)
    _write(out / "board.csv", buffer.getvalue())
    _write(out / "board.json", json.dumps({"rows": lines}, ensure_ascii=True, allow_nan=False))
    pq.write_table(pa.Table.from_pylist(lines, schema()), out / "board.parquet")


# ---------------------------------------------------------------- files


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_site), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _site(name: str) -> str:
    return resources.files("passkwh.reports.leaderboard").joinpath("site").joinpath(name).read_text("utf-8")


def _check_place(out: Path) -> None:
    try:
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).exists())):
            raise UsageError(f"--out {out} holds something else than a leaderboard: choose an empty or a new folder")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be made: {error.strerror}; choose another") from error


def _tidy(out: Path, ids: set[str]) -> None:
    """Remove pages of configurations that are no longer on the board."""
    for folder, suffix in (("c", ".html"), ("data", ".js")):
        for file in (out / folder).glob(f"*{suffix}"):
            if file.stem not in ids:
                file.unlink()


def _write(path: Path, text: str) -> None:
    path.write_bytes(clean(text).encode())


def _dictionary(values: Sequence[str]) -> list[list[Any]]:
    distinct = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return [list(distinct), [distinct[value] for value in values]]
