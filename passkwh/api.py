"""The Python interface: a run as a function call, run folders as data frames (exported lazily by ``passkwh``)."""

from __future__ import annotations

import difflib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from passkwh.errors import UsageError
from passkwh.records import Record, Spec

if TYPE_CHECKING:
    import pandas as pd

    from passkwh.analysis.frames import Frames
    from passkwh.analysis.overview import Analysis
    from passkwh.harness.progress import Progress

    PathLike = str | Path


RecordT = TypeVar("RecordT", bound=Record)


class Runs:
    """Complete runs: a row per run, a row per sample, statistics over them, and a report.

    Example:
        >>> import passkwh
        >>> runs = passkwh.load_runs("runs")
        >>> runs.runs[["quant", "pass_at_1", "gross_energy_j", "provenance"]]  # doctest: +SKIP
        >>> runs.samples.groupby("run")["gross_j"].sum()  # doctest: +SKIP
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        """The run folders."""

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def frames(self) -> Frames:
        """The runs' records (``.runs``) and samples, as the analysis takes them."""
        from passkwh.analysis.frames import load

        return load(self.paths)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: what was asked, on what it ran, and its headline figures (docs/python.md lists them)."""
        return self.frames.run_table()

    @property
    def samples(self) -> pd.DataFrame:
        """One row per sample; energies in joules over the counted channels, missing where any of them is missing."""
        return self.frames.samples

    def analyse(self, **settings: Any) -> Analysis:
        """Tests, intervals, rankings and the Pareto frontier over the tasks that all configurations ran.

        Args:
            settings: fields of :class:`passkwh.analysis.overview.AnalysisSettings`, for example
                ``convention="thesis"``, ``energy="net"`` or ``resamples=1000``.

        Raises:
            UsageError: runs that must not be compared (naming the field that differs), or an unknown setting.
        """
        from passkwh.analysis.overview import AnalysisSettings, analyse
        from passkwh.analysis.pooling import compare

        checked = _checked(AnalysisSettings, settings)
        frames = self.frames
        if checked.convention != frames.runs[0].convention.name:
            from passkwh.analysis.frames import load

            frames = load(self.paths, checked.convention)
        return analyse(compare(frames), checked)

    def report(self, out: PathLike = "report.html") -> Path:
        """Write the report that ``bench report`` writes: one self-contained HTML file. Returns its path."""
        from passkwh.reports.document.build import write

        return write(self.frames, Path(out)).files[0]

    def _repr_html_(self) -> str:
        from passkwh.measures import MEASURES

        names = ["model", "quant", "benchmark", *(name for name in MEASURES if name in self.runs), "provenance"]
        return str(self.runs[names].to_html(index=False, na_rep="—", float_format="{:.4g}".format))


def load_runs(*paths: PathLike) -> Runs:
    """Complete runs, given by their folders, by folders that hold run folders, or by a study's folder.

    Raises:
        UsageError: a folder without a complete run, or a damaged one.

    Example:
        >>> import passkwh
        >>> len(passkwh.load_runs("runs"))
        3
    """
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.harness.runs.folder import RunFolder

    folders, _ = complete_runs([Path(path) for path in paths])
    for folder in folders:
        RunFolder.open(folder).summary()  # says here, and not when a frame is first asked for, what is no complete run
    return Runs(folders)


def run(
    spec: Spec | None = None,
    *,
    out: PathLike = "runs",
    resume: bool = False,
    progress: Progress | None = None,
    **fields: Any,
) -> Runs:
    """Run a model through a benchmark under an energy meter, as ``bench run`` does, and return the one complete run.

    Args:
        spec: all that is asked for; or give its fields as keywords (``model="smollm2-135m-instruct", limit=8``).
        out: folder in which the run folder is made.
        resume: go on with a run of the same spec that was interrupted; one that is complete is returned as it is.
        progress: is handed what the run is doing; nothing is printed when None.

    Raises:
        UsageError: a model, quantization, benchmark or meter that does not exist or cannot run here.

    Example:
        >>> import passkwh
        >>> runs = passkwh.run(
        ...     model="smollm2-135m-instruct", limit=2, max_new_tokens=16, meter="simulated:steady", idle_s=0.1
        ... )
        >>> int(runs.runs["samples"].iloc[0]), runs.runs["provenance"].iloc[0]
        (2, 'simulated')
    """
    from passkwh.harness.plan import plan, refuse_problems
    from passkwh.harness.runner import run as run_plan
    from passkwh.harness.runs.folder import RunFolder
    from passkwh.harness.sweep.machine_lock import hold_machine

    if (spec is None) == (not fields):
        raise UsageError("give a Spec, or the fields of one as keywords: run(model=..., benchmark=...)")
    if spec is None:
        spec = _checked(Spec, fields)
    planned = plan(spec, Path(out))
    if resume and RunFolder(planned.folder).complete:
        return load_runs(planned.folder)
    refuse_problems([planned])
    with hold_machine(spec.meter, planned.folder.name):
        folder = run_plan(planned, resume=resume, progress=progress)
    return Runs([folder.path])


def _checked(kind: type[RecordT], fields: dict[str, Any]) -> RecordT:
    """A record from keywords. Raises UsageError naming the first that is wrong, and what comes close to it."""
    for name in fields:
        if name not in kind.model_fields:
            close = difflib.get_close_matches(name, kind.model_fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(kind.model_fields)}"
            raise UsageError(f"{kind.__name__} has no field {name!r}: {hint}")
    try:
        return kind(**fields)
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
