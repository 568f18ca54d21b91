"""A claim and its verdict: whether what is printed follows from what is printed elsewhere in the same work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from passkwh.analysis.replications.printed import Range, printed, rounded_like
from passkwh.records import Record

Verdict = Literal["follows", "within rounding", "conflicts", "cannot be checked"]
Kind = Literal["claim", "equation", "test", "regression", "estimate", "ratio", "tables"]
VERDICTS: tuple[Verdict, ...] = ("conflicts", "within rounding", "follows", "cannot be checked")


def tally(counts: Mapping[Verdict, int]) -> str:
    """How many checks have each verdict that occurs, as words: ``1 conflicts, 57 follow``."""
    words = {"conflicts": "conflict", "follows": "follow"}
    return ", ".join(f"{n} {words.get(verdict, verdict) if n != 1 else verdict}" for verdict, n in counts.items() if n)


class Check(Record):
    """One claim, what was computed of it, and the verdict.

    follows: the figure computed from the tables rounds to the printed one, or lies with it within what the rounding of
    its parts allows; or the statement holds of them. within rounding: only the digits that the printed figure lost
    itself allow it. conflicts: no rounding does. cannot be checked: what it takes is not printed.
    """

    kind: Annotated[Kind, Field(description="of the text, of an equation, or of a table")] = "claim"
    place: Annotated[str, Field(description="where it is printed: a section or a table")]
    says: Annotated[str, Field(description="what is printed, in the work's words or as a cell")]
    against: Annotated[str, Field(description="the tables or equations it is held against")]
    printed: str
    computed: str
    verdict: Verdict
    because: str = ""
    quantity: Annotated[str, Field(description="equal for claims about one figure")] = ""


def judge(
    place: str, says: str, against: str, figure: str, computed: Range | None, *, unit: str = "", because: str = "",
    quantity: str = "", decimals: int | None = None, kind: Kind = "claim", about: bool = False,
) -> Check:  # fmt: skip
    """The verdict on a printed figure (``figure``; ``< 0.001`` too) from what its parts give.

    ``about``: the words say so, which allows one unit of its last digit.
    """
    shown = f"{figure} {unit}".strip()
    if computed is None:
        return Check(
            kind=kind, place=place, says=says, against=against, printed=shown, computed="", verdict="cannot be checked",
            because=because, quantity=quantity,
        )  # fmt: skip
    verdict: Verdict
    if figure.startswith("<"):
        limit = float(figure[1:])
        text = f"{computed.value:.2g}"
        verdict = "follows" if computed.value < limit else "within rounding" if computed.low < limit else "conflicts"
    else:
        text = rounded_like(computed.value, figure)
        bounds = printed(figure, decimals)
        overlap = computed.low <= bounds.high and bounds.low <= computed.high
        slack = bounds.high - bounds.low if about else 0.0
        same = float(text) == float(figure) or computed.low - slack <= bounds.value <= computed.high + slack
        verdict = "follows" if same else "within rounding" if overlap else "conflicts"
        if verdict != "follows":
            text = f"{computed.value:.4g}"
    if verdict != "follows" and computed.low < computed.high:
        text += f" ({computed.low:.4g} to {computed.high:.4g} as rounded)"
    return Check(
        kind=kind, place=place, says=says, against=against, printed=shown, computed=f"{text} {unit}".strip(),
        verdict=verdict, because=because, quantity=quantity,
    )  # fmt: skip


def judge_statement(
    place: str, says: str, against: str, holds: bool | None, computed: str, because: str = "", quantity: str = "",
    kind: Kind = "claim",
) -> Check:  # fmt: skip
    """The verdict on words: whether they hold of the printed figures; None where that cannot be said."""
    verdict: Verdict = "cannot be checked" if holds is None else "follows" if holds else "conflicts"
    return Check(
        kind=kind, place=place, says=says, against=against, printed="", computed=computed, verdict=verdict,
        because=because,
        quantity=quantity,
    )  # fmt: skip


def disagreements(checks: Iterable[Check]) -> list[Check]:
    """Claims about one quantity that print different figures: each pair that no rounding reconciles is a conflict."""
    first: dict[str, list[Check]] = {}
    for check in checks:
        if check.quantity and check.printed:
            first.setdefault(check.quantity, []).append(check)
    conflicts = []
    for quantity, own in first.items():
        different = {check.printed: check for check in own}
        texts = list(different)
        for i, a in enumerate(texts):
            for b in texts[i + 1 :]:
                x, y = printed(a.split()[0]), printed(b.split()[0])
                if x.high < y.low or y.high < x.low:
                    one, other = different[a], different[b]
                    conflicts.append(
                        Check(
                            place=f"{one.place} and {other.place}", says=f"{quantity}: {a}, and {b}",
                            against="each other", printed=f"{a} and {b}", computed=one.computed, verdict="conflicts",
                            because=f"{one.place} prints {a} and {other.place} prints {b} of the same figure",
                            quantity=quantity,
                        )
                    )  # fmt: skip
    return conflicts
