"""Carbon and cost of each configuration's energy (thesis, section 2.2.6.2), where a country or a price was given."""

from __future__ import annotations

from passkwh.analysis.footprint import describe
from passkwh.reports.document.content import table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import OUTLINES, Draft, FunctionSection


def build(evidence: Evidence) -> Draft | None:
    """A row a configuration, with the interval of its energy; None where nothing was given to compute with."""
    assumptions = evidence.settings.footprint
    if assumptions is None:
        return None
    factors = {}
    if assumptions.grid:
        factors["gCO2e ↓"] = assumptions.pue * assumptions.grid.gco2e_per_kwh
    if assumptions.price_per_kwh is not None:
        factors["cost ↓"] = assumptions.pue * assumptions.price_per_kwh
    rests_on = describe(assumptions)
    table = table_of(
        "footprint", "Carbon and cost of a run's energy",
        {"configuration": "text", "energy is": "text", **dict.fromkeys(factors, "estimate")},
        [
            (
                label, evidence.provenance(label),
                *(evidence.headline("energy_kwh", label, factor) for factor in factors.values()),
            )
            for label in evidence.labels
        ],
        note=f"{rests_on[0].upper()}{rests_on[1:]}. Intervals are those of the energy alone.",
    )  # fmt: skip
    return Draft((table,))


FOOTPRINT = FunctionSection(
    "footprint",
    "Carbon and cost",
    "gCO2e and cost of each configuration's energy, where --region or --price was given",
    dict.fromkeys((outline for outline in OUTLINES if outline != "exits"), 48),
    build,
)
