"""The gallery: every figure that reports and the board make, drawn while the site is built, with its command."""

from __future__ import annotations

import functools
import html
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import invented_runs

from passkwh.adapters.early_exit.training.log import TrainingLog
from passkwh.analysis.estimate.architecture import find_architecture
from passkwh.analysis.estimate.cost import Workload
from passkwh.analysis.estimate.devices import find_device
from passkwh.analysis.estimate.scaling import VARIED, scale
from passkwh.analysis.frames import load
from passkwh.analysis.overview import AnalysisSettings
from passkwh.reports.document.build import assemble
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.figures.render import draw
from passkwh.reports.figures.scaling import scaling_figure

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "schema-1"
"""Runs of the real embedded model that every release must still read; few tasks, energy simulated."""
REAL = (
    "Runs of the real SmolLM2-135M on 6 tasks, under a meter that invents its readings: their energy is **simulated**, "
    "and their figures show a form, not a result."
)
INVENTED = "These runs are **invented** and their energy is **simulated**: their figures show a form, not a result."
BOARD = """\
## The board

{real} Beside them stand the published rows of the thesis and of GREEN-CODE, which are marked.

```text
bench leaderboard pack runs --out submissions
bench leaderboard build submissions --out board
```

<p><a href="board/index.html">Open this board</a>: sort, filter, draw all configurations on one plane, compare some of
them, and see each run's power over time.</p>

<iframe class="board" src="board/index.html" title="A board with example runs" loading="lazy"></iframe>
"""


class Figure(NamedTuple):
    """A picture with what stands beside it."""

    name: str
    title: str
    caption: str
    svg: str


class Exhibit(NamedTuple):
    """Figures that one command makes."""

    title: str
    about: str
    command: str
    figures: tuple[Figure, ...]


def markdown() -> str:
    """A section for each command, with its figures."""
    return "\n\n".join([*map(_section, exhibits()), BOARD.format(real=REAL)])


def pictures() -> dict[str, str]:
    """Name on the site and SVG of every picture."""
    return {f"gallery/{figure.name}.svg": figure.svg for exhibit in exhibits() for figure in exhibit.figures}


def write_board(folder: Path) -> None:
    """A board of the golden runs and the published rows, made by the commands that the page names."""
    with tempfile.TemporaryDirectory() as place:
        packs, cache = Path(place, "submissions"), Path(place, "cache")
        bench = [sys.executable, "-m", "passkwh.cli.main", "leaderboard"]
        for words in (
            ["pack", *map(str, _golden()), "--out", str(packs)],
            ["build", str(packs), "--out", str(folder), "--title", "Example board", "--cache", str(cache)],
        ):
            subprocess.run([*bench, *words], check=True, capture_output=True, text=True)


def _golden() -> list[Path]:
    return [summary.parent for summary in sorted(GOLDEN.glob("*-bigcodebench-*/summary.json"))]


def _section(exhibit: Exhibit) -> str:
    parts = [f"## {exhibit.title}", exhibit.about, f"```text\n{exhibit.command}\n```"]
    for figure in exhibit.figures:
        title = html.escape(figure.title, quote=False)
        parts += [f"### {title} {{#{figure.name}}}", f"![{title}]({figure.name}.svg)"]
        parts += [html.escape(figure.caption, quote=False)] if figure.caption else []
    return "\n\n".join(parts)


@functools.cache
def exhibits() -> tuple[Exhibit, ...]:
    """All figures, drawn once a build."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        golden = _golden()
        invented = invented_runs.of_configurations(root / "invented")
        exits, trainings = invented_runs.of_exit_rules(root / "exits")
        return (
            Exhibit(
                "The short report", REAL, "bench report runs", tuple(_of_report("short", golden, "short")),
            ),
            Exhibit(
                "Latency and a deadline",
                f"{INVENTED} The section is there for runs that kept requests in flight, or when a deadline is given.",
                "bench report runs --deadline-s 20", tuple(_of_report("deadline", invented, "short", only="latency")),
            ),
            Exhibit(
                "All experiments", INVENTED, "bench report runs --experiment all --out report",
                tuple(_of_report("all", invented, "all")),
            ),
            Exhibit(
                "Early exit", INVENTED, "bench exits runs bundles/m-training --out exits",
                tuple(_of_report("exits", exits, "exits", training=trainings)),
            ),
            Exhibit(
                "What a model needs",
                "**Estimated** from a model's size and a device's peak rates, before anything is run.",
                "bench estimate --model Qwen2.5-Coder-7B --gpu L40S --vary batch --out batch.svg",
                tuple(_of_estimate()),
            ),
        )  # fmt: skip


def _of_report(
    prefix: str,
    runs: Sequence[Path],
    outline: str,
    training: Sequence[TrainingLog] = (),
    only: str | None = None,
) -> Iterator[Figure]:
    """The figures of a report of these runs, in its order."""
    settings = AnalysisSettings(resamples=500, deadline_s=20.0 if only == "latency" else None)
    built = assemble([("", Evidence(load(list(runs)), outline, settings, training=training))])
    for section in built.report.sections:
        for block in section.blocks:
            if block.kind == "figure" and only in (None, section.id):
                name = f"{prefix}-{block.name}".replace("_", "-")
                alone = outline != "all" or section.title == block.title
                title = block.title if alone else f"{section.title}: {block.title}"
                yield Figure(name, title, block.caption, built.pictures[block.name].svg)


def _of_estimate() -> Iterator[Figure]:
    """How requirements grow with each thing that ``--vary`` takes."""
    model, _ = find_architecture("Qwen2.5-Coder-7B")
    for varied in VARIED:
        drawing = scaling_figure(scale(model, find_device("L40S"), Workload(), varied))
        yield Figure(f"estimate-{varied}", drawing.block.title, drawing.block.caption, draw(drawing).svg)
