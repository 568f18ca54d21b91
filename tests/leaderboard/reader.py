"""A reader of the built site: a page in the browser with everything that it complained of, and rows to look for."""

from __future__ import annotations

from typing import Any

from passkwh.reports.leaderboard.build import Site
from passkwh.reports.leaderboard.rows import Row

THESIS = "thesis.thesis.published"


class Reader:
    """A page, with everything it complained of."""

    def __init__(self, context: Any, site: Site) -> None:
        self.page = context.new_page()
        self.folder = site.index.parent
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, place: str = "index.html") -> Any:
        self.page.goto(f"file://{self.folder}/{place}")
        return self.page

    def ids(self) -> list[str]:
        found: list[str] = self.page.eval_on_selector_all(
            "#board-table tbody tr", "rows => rows.map(r => r.dataset.id)"
        )
        return found

    def rank_among(self, key: str) -> None:
        self.page.select_option("#group", key)


def thesis(site: Site) -> list[Row]:
    return [row for row in site.rows if row.tasks_key == "thesis"]


def group_of(row: Row) -> str:
    return f"{row.tasks_key}.{row.hardware_key}.{row.provenance}"


def alphas(site: Site) -> dict[str, Row]:
    return {row.quant: row for row in site.rows if row.model.startswith("Alpha")}
