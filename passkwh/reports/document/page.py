"""The report as one HTML file: no network, no scripts, light and dark, printable.

A content security policy forbids scripts altogether, and every text is escaped, so no text of a run can do anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from passkwh.analysis.tables import Cell, Style
from passkwh.clean import clean
from passkwh.reports.document.content import Estimate, Link, Number, Report, Sentence, TableBlock
from passkwh.reports.document.text import estimate_texts, listed, shown


def render(report: Report, pictures: Mapping[str, str], files: bool = True) -> str:
    """HTML of a report; ``pictures`` holds the SVG of each figure by name; ``files`` are beside it, and linked."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["sentence"] = _sentence
    environment.filters["code"] = _code
    environment.filters["cell"] = _cell
    environment.filters["reasons"] = _reasons
    template = resources.files("passkwh.reports").joinpath("templates/document.html.j2").read_text("utf-8")
    page = environment.from_string(template).render(
        report=report, pictures={name: Markup(svg) for name, svg in pictures.items()}, files=files
    )
    return clean(page)


def _data(value: float, text: str, at: str) -> Markup:
    """A number with its full value and its place in report.json."""
    return Markup('<data value="{}" data-at="{}">{}</data>').format(repr(value), at, text)


def _sentence(parts: Sentence, at: str) -> Markup:
    out = Markup()
    for i, part in enumerate(parts):
        if isinstance(part, Number):
            out += _data(part.value, part.text, f"{at}/{i}/value")
        elif isinstance(part, Link):
            out += Markup('<a href="{}">{}</a>').format(part.target, part.text)
        else:
            out += _code(part)
    return out


def _code(text: str) -> Markup:
    """Text with what stands between backticks as code; a last backtick without a partner stays."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        pieces[-2:] = ["`".join(pieces[-2:])]
    out = Markup()
    for i, piece in enumerate(pieces):
        out += Markup("<code>{}</code>").format(piece) if i % 2 else escape(piece)
    return out


def _cell(cell: Cell | Estimate, style: Style | str, at: str) -> Markup:
    if isinstance(cell, Estimate):
        return _estimate(cell, at)
    if cell is None:
        return Markup('<span class="none">—</span>')
    if isinstance(cell, str):
        return _code(cell)
    return _data(cell, shown(cell, style), at)


def _estimate(cell: Estimate, at: str) -> Markup:
    text, low, high = estimate_texts(cell)
    if cell.value is None:
        return Markup('<span class="none" title="{}">—</span>').format(cell.reason or "missing")
    out = _data(cell.value, text, f"{at}/value")
    if low is None or high is None or cell.low is None or cell.high is None:
        return out + Markup('<span class="range" title="{}">no interval</span>').format(cell.reason or "")
    bounds = _data(cell.low, low, f"{at}/low") + " – " + _data(cell.high, high, f"{at}/high")
    return out + Markup('<span class="range">{}</span>').format(bounds)


def _reasons(block: TableBlock) -> list[str]:
    """Why values or intervals of a table are missing or unusual, each reason once, with whom it is about."""
    reasons: dict[str, list[str]] = {}
    for row in block.rows:
        for cell, column in zip(row, block.columns, strict=True):
            if isinstance(cell, Estimate) and cell.reason:
                row_name = next((name for name in row if isinstance(name, str)), "")  # a rank may stand before it
                reasons.setdefault(cell.reason, []).append(f"{row_name}, {column.name}")
    return [f"{listed(list(dict.fromkeys(who)), 3)}: {reason}" for reason, who in reasons.items()]
