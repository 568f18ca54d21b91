"""Figures as pictures: SVG for paper, PNG for slides, and the SVG that takes the page's colours."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from passkwh.clean import clean, one_line
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import THEMED

PNG_SCALE = 2.0
_COLOUR = re.compile(r'\b(fill|stroke)="(' + "|".join(THEMED) + ')"')
_REFERENCED = re.compile(r'(\bid="|url\(#|href="#)([A-Za-z0-9_-]+)')


@dataclass(frozen=True)
class Picture:
    """One figure, drawn."""

    svg: str
    inline: str
    """The SVG for the page."""

    def png(self) -> bytes:
        """The same as PNG."""
        return vl_convert.svg_to_png(self.svg, scale=PNG_SCALE)


def draw(drawing: Drawing) -> Picture:
    """Draw a figure. Raises ValueError, with the first line of what Vega says, where it cannot be drawn."""
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    try:
        # Before and not after: a character without width aborts the whole process while Vega measures its text.
        svg = vl_convert.vegalite_to_svg(_cleaned(drawing.specification), vl_version=version)
    except ValueError as error:
        raise ValueError(one_line(str(error).strip().partition("\n")[0], 300) or "no reason given") from error
    return Picture(svg, _inline(svg, drawing.block.name, drawing.block.title))


def _cleaned(content: Any) -> Any:
    """A specification with every text in it, names of fields too, as people may see it."""
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, dict):
        return {clean(name): _cleaned(value) for name, value in content.items()}
    return [_cleaned(value) for value in content] if isinstance(content, list | tuple) else content


def _inline(svg: str, name: str, title: str) -> str:
    """The SVG for the page: its colours follow the page, its ids are its own, and it says what it is.

    Vega escapes all texts; only attributes that it writes itself are touched here.
    """
    themed = _COLOUR.sub(lambda m: f'{m[1]}="var(--{THEMED[m[2]]})"', svg)
    own = _REFERENCED.sub(lambda m: f"{m[1]}{name}-{m[2]}", themed)
    label = html.escape(one_line(title))
    return own.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
