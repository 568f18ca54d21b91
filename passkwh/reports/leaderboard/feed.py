"""The board's Atom feed (RFC 4287): an entry a configuration, dated by its latest run and never by the build."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from passkwh.clean import clean
from passkwh.reports.leaderboard.addresses import page_url
from passkwh.reports.leaderboard.cells import figure
from passkwh.reports.leaderboard.cite import CITED
from passkwh.reports.leaderboard.rows import Row

NAME = "feed.xml"
MOST_ENTRIES = 200
"""The feed has so many configurations, those with the latest runs."""


def feed(rows: Sequence[Row], title: str, url: str) -> str:
    """The feed of the board called ``title`` at ``url``. Equal rows give an equal feed.

    An entry's id is the address of the configuration's page, which does not change; its date does when a repeat of the
    run comes in, and readers then show it again.
    """
    own = sorted((row for row in rows if row.runs), key=lambda row: row.id)
    newest = sorted(own, key=lambda row: row.latest, reverse=True)[:MOST_ENTRIES]
    updated = max((row.latest for row in newest), default="1970-01-01T00:00:00Z")
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{_text(title)}</title>",
        f"<id>{url}/</id>",
        f'<link rel="alternate" type="text/html" href="{url}/"/>',
        f'<link rel="self" type="application/atom+xml" href="{url}/{NAME}"/>',
        f"<updated>{updated}</updated>",
        f"<author><name>{_text(title)}</name></author>",
        *(line for row in newest for line in _entry(row, url)),
        "</feed>",
    ]
    return "\n".join(lines) + "\n"


def _entry(row: Row, url: str) -> list[str]:
    shown = [figure(name, row.measures[name]) for name in CITED if name in row.measures]
    figures = ", ".join(f"{one.name} {one.text}{f' {one.unit}' if one.unit else ''}" for one in shown)
    repeats = f"; {row.runs} runs" if row.runs > 1 else ""
    return [
        "<entry>",
        f"<title>{_text(row.label)}</title>",
        f"<id>{page_url(url, row.id)}</id>",
        f'<link rel="alternate" type="text/html" href="{page_url(url, row.id)}"/>',
        f"<updated>{row.latest}</updated>",
        f"<summary>{_text(f'{figures}; energy {row.provenance}; {row.benchmark}; {row.hardware}{repeats}')}</summary>",
        "</entry>",
    ]


def _text(text: str) -> str:
    """Foreign text in XML: escaped, and without characters that XML has no place for."""
    return escape(clean(text))
