"""Runs as files for other programs: the table of samples and the table of runs.

A format is a member of :data:`passkwh.registry.EXPORTS`; other packages add theirs through the entry-point group
``passkwh.exports``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from passkwh.analysis.frames import Frames
from passkwh.clean import cell
from passkwh.errors import UsageError


class Export(Protocol):
    """A format that runs are written in."""

    @property
    def summary(self) -> str:
        """What it writes, in one line, for ``bench list``."""

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """Write the runs; returns the files. ``path`` is a folder, made where it is missing.

        Raises:
            UsageError: it cannot be written.
        """


@dataclass(frozen=True)
class TableExport:
    """Both tables (``runs`` and ``samples``, a row each; see :class:`Frames`), a file each."""

    ending: str
    summary: str
    save: Callable[[pd.DataFrame, Path], None]

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """Write both files."""
        runs = frames.run_table()
        samples = frames.samples.assign(run=frames.samples["run"].map(dict(enumerate(runs["run"]))))
        files = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name, table in (("runs", runs), ("samples", samples)):
                files.append(path / f"{name}.{self.ending}")
                self.save(table, files[-1])
        except OSError as error:
            raise UsageError(f"--out {path}: cannot be written ({error.strerror}); choose another folder") from error
        return files


def _save_csv(table: pd.DataFrame, path: Path) -> None:
    """All digits; missing values are empty, and no text is a formula to a spreadsheet."""
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    plain = {name: table[name].map(lambda v: cell(v) if isinstance(v, str) else v) for name in texts}
    table.assign(**plain).to_csv(path, index=False)


def _save_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)


CSV = TableExport("csv", "runs.csv and samples.csv, a line for each run and each sample", _save_csv)
PARQUET = TableExport("parquet", "runs.parquet and samples.parquet, a row for each run and each sample", _save_parquet)
