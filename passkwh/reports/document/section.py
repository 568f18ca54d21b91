"""What a section of the report is: the contract, for our own sections and for those of other packages.

A report follows an *outline*, a named list of sections: ``short`` (one page), one for each experiment and ``all``
(a folder), and ``exits`` (``bench exits``). A section names the outlines it belongs to, with its place in each. Ours
are members of :data:`passkwh.registry.REPORT_SECTIONS`; a package adds its own through the entry-point group
``passkwh.report_sections``, and they follow ours in every outline they name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from passkwh.reports.document.content import Block, FigureBlock, Section
from passkwh.reports.document.evidence import Evidence

EXPERIMENTS = ("batch-size", "model-size", "fine-tuning", "awq", "gptq", "granularity", "early-exit", "all")
"""The outlines of ``bench report --experiment``."""
OUTLINES = ("short", *EXPERIMENTS, "exits")


@dataclass(frozen=True)
class Drawing:
    """A figure with its one definition (Vega-Lite, by Altair) and the values it shows."""

    block: FigureBlock
    specification: dict[str, Any]
    data: pd.DataFrame


@dataclass(frozen=True)
class Deferred:
    """A block that is made of the sections before it, once their tables and figures have numbers."""

    make: Callable[[Sequence[Section]], Block]


@dataclass(frozen=True)
class Draft:
    """What a section says: its blocks, figures still with their definitions."""

    blocks: tuple[Block | Drawing | Deferred, ...]


class ReportSection(Protocol):
    """A section of the report."""

    @property
    def id(self) -> str:
        """Its place on the page (lower case, digits, hyphens), unique among all sections."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def summary(self) -> str:
        """What it shows, in one line, for ``bench list``."""

    @property
    def outlines(self) -> Mapping[str, int]:
        """The outlines it belongs to, with its place in each: lower numbers come first."""

    def build(self, evidence: Evidence) -> Draft | None:
        """The section on these runs; None where it has nothing to say of them.

        Raises:
            UsageError: what it needs is not in these runs. The report then says so in its place.
        """


@dataclass(frozen=True)
class FunctionSection:
    """A section that a function builds.

    Example:
        >>> from passkwh.reports.document.content import Text
        >>> hello = FunctionSection(
        ...     "hello", "Hello", "says hello", {"short": 5}, lambda evidence: Draft((Text(sentence=("Hello.",)),))
        ... )
        >>> hello.outlines
        {'short': 5}
    """

    id: str
    title: str
    summary: str
    outlines: Mapping[str, int]
    build: Callable[[Evidence], Draft | None]


def everywhere(place: int, *but: str) -> dict[str, int]:
    """A place in the outlines of all experiments, those in ``but`` left out."""
    return {outline: place for outline in EXPERIMENTS if outline not in but}
