"""A report section: how long completions are."""

from __future__ import annotations

from passkwh.reports.document.content import Column, TableBlock
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, FunctionSection


def build(evidence: Evidence) -> Draft | None:
    """A row for each run."""
    rows = [(run.manifest.run_id, run.summary.completion_tokens / run.summary.samples) for run in evidence.runs]
    columns = (Column(name="run", style="text"), Column(name="tokens a completion"))
    return Draft((TableBlock(name="toy_lengths", title="How long completions are", columns=columns, rows=tuple(rows)),))


SECTION = FunctionSection("toy-lengths", "Lengths", "how long completions are", {"short": 90, "all": 900}, build)
