"""How to cite a row: BibTeX, and the same in a sentence. Names of submissions are whatever somebody wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passkwh.analysis.frames import Run
from passkwh.clean import one_line
from passkwh.reports.leaderboard.addresses import page_url
from passkwh.reports.leaderboard.cells import figure
from passkwh.reports.leaderboard.rows import Row, started

CITED = ("pass_at_1", "energy_kwh", "pass_at_kwh")
MOST_SUMS = 10
"""A citation names so many packs by their checksums; of more it says how many there are."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", **{sign: f"\\{sign}" for sign in "%&#_$"},
}  # fmt: skip
"""BibTeX counts braces even behind a backslash, so these go by their names. In braces, @ and quotes mean nothing."""


@dataclass(frozen=True)
class Citation:
    """One row, ready to be copied."""

    bibtex: str
    text: str


def citation(row: Row, runs: Sequence[Run], sums: Sequence[str], title: str, url: str) -> Citation:
    """The citation of a row of the board called ``title`` at ``url`` (may be empty).

    ``sums`` are the SHA-256 of the row's packs. The date is that of its first run.
    """
    date = min(started(run) for run in runs)
    version = ", ".join(sorted({run.manifest.versions.get("passkwh", "")[:40] for run in runs} - {""}))
    sha256 = ", ".join(sums[:MOST_SUMS]) + (f" and {len(sums) - MOST_SUMS} more" if len(sums) > MOST_SUMS else "")
    packs = f"SHA-256 of {'the pack' if len(sums) == 1 else f'the {len(sums)} packs'}: {sha256}"
    figures = f"{_figures(row)}; energy {row.provenance}; {row.hardware}"
    fields = {
        "title": f"{{{latex(f'{row.label} on {row.benchmark}')}}}",
        "howpublished": latex(title),
        "year": str(date.year),
        "month": _MONTHS[date.month - 1],
        "date": date.date().isoformat(),
        "version": latex(f"passkwh {version}") if version else "",
        "url": page_url(url, row.id) if url else "",
        "note": latex(f"{figures}. {packs}"),
    }
    lines = [f"  {name} = {value if name == 'month' else f'{{{value}}}'}," for name, value in fields.items() if value]
    return Citation(
        bibtex="\n".join([f"@misc{{passkwh-{row.id},", *lines, "}"]),
        text=one_line(
            f"{row.label} on {row.benchmark}: {figures}. Run of {date.date().isoformat()}"
            f"{f' with passkwh {version}' if version else ''}, in: {title}, row {row.id}"
            f"{f', {page_url(url, row.id)}' if url else ''}. {packs}."
        ),
    )  # fmt: skip


def latex(text: str) -> str:
    r"""Foreign text for a field of BibTeX, on one line, every sign that LaTeX would obey by its name.

    >>> latex("50%{\\}")
    '50\\%\\textbraceleft{}\\textbackslash{}\\textbraceright{}'
    """
    return "".join(_LATEX.get(sign, sign) for sign in one_line(text))


def _figures(row: Row) -> str:
    shown = [figure(name, row.measures[name]) for name in CITED if name in row.measures]
    return ", ".join(
        f"{one.name} {one.text}{f' {one.unit}' if one.unit else ''}{f' [{one.range}]' if one.range else ''}"
        for one in shown
    )
