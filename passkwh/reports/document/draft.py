"""What sections are made of before tables and figures have their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from passkwh.reports.document.content import Block, FigureBlock
from passkwh.reports.document.evidence import Evidence


@dataclass(frozen=True)
class Drawing:
    """A figure with its one definition (Vega-Lite, by Altair) and the values it shows."""

    block: FigureBlock
    specification: dict[str, Any]
    data: pd.DataFrame


@dataclass(frozen=True)
class Draft:
    """A section, its figures still with their definitions."""

    id: str
    title: str
    blocks: tuple[Block | Drawing, ...]


@dataclass(frozen=True)
class EnergyUnit:
    """The unit in which a report gives energies of runs, chosen so that figures have few zeros."""

    name: str
    per_kwh: float


def energy_unit(evidence: Evidence) -> EnergyUnit:
    """kWh for runs of the thesis's size, Wh for short ones."""
    energies = [i.estimate for i in evidence.analysis.intervals if i.measure == "energy_kwh" and i.estimate is not None]
    return EnergyUnit("Wh", 1000.0) if energies and max(energies) < 0.1 else EnergyUnit("kWh", 1.0)
