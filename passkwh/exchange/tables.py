"""Two tables for spreadsheets, notebooks and databases: a row a run, and a row a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from passkwh.analysis.frames import Frames, Run
from passkwh.clean import cell
from passkwh.exchange.output_files import writing_to


@dataclass(frozen=True)
class TableExport:
    """Both tables (``runs`` and ``samples``; see :class:`Frames`), a file each.

    Energies carry what they are: by which convention, measured, estimated or simulated, and why one is missing.
    """

    ending: str
    summary: str
    save: Callable[[pd.DataFrame, Path], None]

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """Write both files."""
        added = pd.DataFrame([_energy_columns(run) for run in frames.runs])
        runs = pd.concat([frames.run_table(), added], axis=1)
        of_run = frames.samples["run"].map
        samples = frames.samples.assign(
            **{
                name: of_run(dict(enumerate(runs[name])))
                for name in ("run", "convention", "provenance", "energy_reason")
            }
        )
        files = [path / f"{name}.{self.ending}" for name in ("runs", "samples")]
        with writing_to(path):
            for file, table in zip(files, (runs, samples), strict=True):
                self.save(table, file)
        return files


def _energy_columns(run: Run) -> dict[str, str | None]:
    """What a run's energies are, beside the provenance that its row has already."""
    return {
        "convention": run.convention.name,
        "convention_note": run.convention_note,
        "energy_reason": run.summary.energy_reason,
        "imported_from": run.manifest.imported.origin if run.manifest.imported else None,
    }


def _save_csv(table: pd.DataFrame, path: Path) -> None:
    """All digits; missing values are empty, and no text is a formula to a spreadsheet."""
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    plain = {name: table[name].map(lambda v: cell(v) if isinstance(v, str) else v) for name in texts}
    table.assign(**plain).to_csv(path, index=False)


def _save_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)


CSV = TableExport("csv", "runs.csv and samples.csv, a line for each run and each sample", _save_csv)
PARQUET = TableExport("parquet", "runs.parquet and samples.parquet, a row for each run and each sample", _save_parquet)
