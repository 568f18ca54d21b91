"""What checking a submission found: each with its place and the way to put it right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from passkwh.clean import one_line
from passkwh.records import Record

Line = Annotated[str, AfterValidator(one_line)]
"""Foreign text, as it may be shown anywhere."""


class Finding(Record):
    """One thing that is wrong (``error``: the submission is not taken) or that a reader must know (``warning``)."""

    severity: Literal["error", "warning"]
    file: Annotated[Line, Field(description="part of the pack")]
    field: Annotated[Line, Field(description="field, line or window in it; empty for the whole part")] = ""
    seen: Line
    fix: Line

    def __str__(self) -> str:
        place = f"{self.file}, {self.field}" if self.field else self.file
        return f"{self.severity}: {place}: {self.seen}; {self.fix}"


def error(file: str, field: str, seen: str, fix: str) -> Finding:
    """A finding for which a submission is refused."""
    return Finding(severity="error", file=file, field=field, seen=seen, fix=fix)


def warning(file: str, field: str, seen: str, fix: str) -> Finding:
    """A finding that stands beside the submission on the board."""
    return Finding(severity="warning", file=file, field=field, seen=seen, fix=fix)


def refuses(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(finding.severity == "error" for finding in findings)
