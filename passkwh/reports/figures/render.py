"""Figures as pictures: SVG for paper, PNG for slides, and the SVG that takes the page's colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import altair as alt
import vl_convert

from passkwh.reports.document.draft import Drawing
from passkwh.reports.figures.theme import THEMED

PNG_SCALE = 2.0
_COLOUR = re.compile(r'\b(fill|stroke)="(' + "|".join(THEMED) + ')"')
_REFERENCED = re.compile(r'(\bid="|url\(#|href="#)([A-Za-z0-9_-]+)')


@dataclass(frozen=True)
class Picture:
    """One figure, drawn."""

    svg: str
    inline: str
    png: bytes


def pictures(drawings: Mapping[str, Drawing]) -> dict[str, Picture]:
    """Draw all figures. Vega draws each once; the PNG is made from the SVG."""
    return {name: _picture(name, drawing) for name, drawing in drawings.items()}


def _picture(name: str, drawing: Drawing) -> Picture:
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    svg = vl_convert.vegalite_to_svg(drawing.specification, vl_version=version)
    return Picture(svg, _inline(svg, name, drawing.block.title), vl_convert.svg_to_png(svg, scale=PNG_SCALE))


def _inline(svg: str, name: str, title: str) -> str:
    """The SVG for the page: its colours follow the page, its ids are its own, and it says what it is.

    Vega escapes all texts; only attributes that it writes itself are touched here.
    """
    themed = _COLOUR.sub(lambda m: f'{m[1]}="var(--{THEMED[m[2]]})"', svg)
    own = _REFERENCED.sub(lambda m: f"{m[1]}{name}-{m[2]}", themed)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return own.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
