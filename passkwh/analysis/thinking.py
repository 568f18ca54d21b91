"""Thinking as a factor: configurations that differ in nothing else, and what each spends per solved task."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.harness.runs.labels import traits
from passkwh.records import Manifest, Summary, content_hash
from passkwh.units import kwh_to_joules

ORDER = ("off", "low", "medium", "high", "on", "auto")
"""From what costs least to what costs most, as a rule; a number of tokens stands by its size between off and low."""


def families(manifests: Sequence[Manifest]) -> list[tuple[int, ...]]:
    """Positions of configurations that differ in ``--thinking`` and nothing else, the first being the reference.

    ``manifests`` has one run of each configuration. Those that nothing else is like are left out.
    """
    alike: dict[str, list[int]] = {}
    for position, manifest in enumerate(manifests):
        others = {name: value for name, value in traits(manifest).items() if name != "thinking"}
        key = content_hash(manifest.model.name, manifest.model.revision, others)
        alike.setdefault(key, []).append(position)
    found = [sorted(own, key=lambda p: _order(manifests[p].spec.thinking)) for own in alike.values()]
    return [tuple(own) for own in found if len({manifests[p].spec.thinking for p in own}) > 1]


def joules_per_solved(summary: Summary) -> float | None:
    """Gross energy of a run / tasks it is expected to solve; None where it solves none, or either is missing."""
    return kwh_to_joules(1.0) / summary.solved_per_kwh if summary.solved_per_kwh else None


def _order(thinking: str) -> tuple[int, int]:
    return (0, int(thinking)) if thinking.isdecimal() else (ORDER.index(thinking), 0)
