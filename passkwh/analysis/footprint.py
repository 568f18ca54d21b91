"""Carbon and cost: derived from energy afterwards, each with its source and year, and never mixed into energy.

    CO2e = energy x PUE x the grid's intensity        cost = energy x PUE x the price of a kilowatt-hour

The intensity is a year's mean of a whole country; what a machine caused at its hour and place may be far from it. PUE
(power usage effectiveness) is a building's energy over that of its computers; 1 means that only the meter's energy
counts. Neither an intensity's nor a PUE's error is known, so the intervals here are those of the energy alone.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from passkwh.analysis.results import Interval
from passkwh.analysis.tables import Table, laid_out
from passkwh.errors import UsageError
from passkwh.records import Record


class Grid(Record):
    """The electricity of a country in one year."""

    region: Annotated[str, Field(description="ISO 3166-1 alpha-3, as NLD")]
    name: str
    gco2e_per_kwh: Annotated[float, Field(gt=0)]
    source: str
    year: int


class FootprintAssumptions(Record):
    """What carbon and cost are computed with."""

    grid: Grid | None = None
    pue: Annotated[float, Field(ge=1)] = 1.0
    price_per_kwh: Annotated[float | None, Field(ge=0, description="in any one currency")] = None


class Footprint(Record):
    """Carbon and cost of a configuration's energy; None where no grid or no price was given, or no energy is known."""

    label: str
    gco2e: Interval | None
    cost: Interval | None


@cache
def grids() -> dict[str, Grid]:
    """Every country of CodeCarbon's offline table that has an intensity, by ISO code."""
    spec = importlib.util.find_spec("codecarbon")
    assert spec is not None, "codecarbon is a dependency of this package"
    assert spec.origin is not None
    path = Path(spec.origin).with_name("data") / "private_infra" / "global_energy_mix.json"
    source = f"CodeCarbon {importlib.metadata.version('codecarbon')}, global energy mix (Our World in Data)"
    return {
        code: Grid(
            region=code,
            name=row["country_name"],
            gco2e_per_kwh=row["carbon_intensity"],
            source=source,
            year=row["year"],
        )
        for code, row in sorted(json.loads(path.read_text("utf-8")).items())
        if row.get("carbon_intensity")
    }


def grid(region: str) -> Grid:
    """The grid of a country by ISO code or by name.

    Raises:
        UsageError: there is none; names close ones.
    """
    known = grids()
    by_name = {entry.name.casefold(): entry for entry in known.values()}
    match = known.get(region.upper()) or by_name.get(region.casefold())
    if match is not None:
        return match
    near = difflib.get_close_matches(region.upper(), known, 3, 0.5)
    near += [by_name[name].region for name in difflib.get_close_matches(region.casefold(), by_name, 2, 0.6)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "give an ISO 3166 code such as NLD or USA"
    raise UsageError(f"--region {region}: no grid intensity is known for it; {hint}")


def footprints(energy_kwh: Iterable[Interval], assumptions: FootprintAssumptions) -> list[Footprint]:
    """Carbon and cost of each configuration from the interval of its energy in kWh."""
    intensity = assumptions.grid.gco2e_per_kwh if assumptions.grid else None
    return [
        Footprint(
            label=energy.label,
            gco2e=_times(energy, "gco2e", intensity, assumptions.pue),
            cost=_times(energy, "cost", assumptions.price_per_kwh, assumptions.pue),
        )
        for energy in energy_kwh
    ]


def _times(energy: Interval, measure: str, per_kwh: float | None, pue: float) -> Interval | None:
    if per_kwh is None:
        return None
    figures = {"estimate": energy.estimate, "low": energy.low, "high": energy.high}
    scaled = {name: None if value is None else value * pue * per_kwh for name, value in figures.items()}
    return energy.model_copy(update={"measure": measure, **scaled})


def describe(assumptions: FootprintAssumptions) -> str:
    """What the figures rest on, in a sentence."""
    parts = [f"PUE {assumptions.pue:g}"]
    if assumptions.grid:
        of = assumptions.grid
        parts.append(f"{of.gco2e_per_kwh:g} gCO2e/kWh ({of.name}, mean of {of.year}; {of.source})")
    if assumptions.price_per_kwh is not None:
        parts.append(f"{assumptions.price_per_kwh:g} per kWh (as given)")
    return "estimated from energy: " + ", ".join(parts)


def footprint_table(computed: Sequence[Footprint], assumptions: FootprintAssumptions) -> Table:
    """Carbon and cost with the intervals of the energy."""
    rows = [
        (f.label, *(v for i in (f.gco2e, f.cost) for v in ((i.estimate, i.low, i.high) if i else (None,) * 3)))
        for f in computed
    ]
    return laid_out("footprint", rows, assumptions=describe(assumptions))
