"""Numbers as people read them, and names beside points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.analysis.results import Interval
from passkwh.reports.document.content import Estimate, Number
from passkwh.reports.document.text import estimate_texts, listed, quantity, scaled, sentence, shown, span
from passkwh.reports.figures.labels import Box, place
from passkwh.reports.figures.plane import common_prefix

from .test_report_numbers import read

VALUES = st.floats(-1e14, 1e14).filter(lambda v: v == 0 or abs(v) > 1e-12)


@given(VALUES)
def test_a_shown_number_is_the_value_to_four_digits(value: float) -> None:
    text, half = read(shown(value))
    assert math.isclose(text, value, rel_tol=5e-3, abs_tol=0) or abs(text - value) <= half * 1.001
    assert shown(value).count(".") <= 1


@given(VALUES, st.floats(1e-9, 1e6), st.floats(1e-9, 1e6))
def test_an_estimate_and_its_bounds_share_their_digits(value: float, below: float, above: float) -> None:
    texts = estimate_texts(Estimate(value=value, low=value - below, high=value + above))
    numbers = [read(text) for text in texts if text is not None]
    assert len(numbers) == 3
    for (number_, half), truth in zip(numbers, (value, value - below, value + above), strict=True):
        assert math.isclose(number_, truth, rel_tol=5e-3, abs_tol=half * 1.001)


@pytest.mark.parametrize(
    ("value", "low", "high", "texts"),
    [
        (0.30712, 0.2811, 0.3344, ("0.307", "0.281", "0.334")),
        (1234.5678, 1100.0, 1400.0, ("1,235", "1,100", "1,400")),
        (126.4322, 126.4255, 126.4388, ("126.43", "126.43", "126.44")),
        (0.0, 0.0, 0.08, ("0.000", "0.000", "0.080")),
        (5.0, 5.0, 5.0, ("5.00", "5.00", "5.00")),
        (2.5e-13, None, None, ("2.50e-13", None, None)),
    ],
)
def test_digits_follow_the_interval(
    value: float, low: float | None, high: float | None, texts: tuple[str | None, ...]
) -> None:
    assert estimate_texts(Estimate(value=value, low=low, high=high)) == texts


def test_what_is_missing_says_why() -> None:
    gone = Interval(measure="m", label="x", estimate=None, low=None, high=None, level=0.95, reason="no reading")
    assert span(scaled(gone)) == ["unknown (no reading)"]
    lonely = gone.model_copy(update={"estimate": 2000.0, "reason": "one task"})
    assert sentence(span(scaled(lonely), "Wh")) == (Number(value=2000.0, text="2,000 Wh"), " (no interval)")


def test_sentences_join_and_lists_are_cut() -> None:
    five = quantity(5, style="integer")
    assert sentence("a", ["b", five], "", "c", "d") == ("ab", five, "cd")
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh"), 4) == "a, b, c and 5 more"
    assert listed([]) == "none"


def test_common_beginnings_end_at_a_separator() -> None:
    assert common_prefix(["Qwen2.5-7B", "Qwen2.5-7B-Instruct", "Qwen2.5-72B"]) == "Qwen2.5-"
    assert common_prefix(["Qwen2.5-7B"]) == ""
    assert common_prefix(["a-", "a-b"]) == "", "no name vanishes"
    assert common_prefix(["abc", "abd"]) == ""


POINTS = st.lists(st.tuples(st.floats(0, 780), st.floats(0, 460)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=40)
@given(POINTS, st.lists(st.integers(1, 30), min_size=30, max_size=30))
def test_names_never_cover_points_or_each_other(points: list[tuple[float, float]], lengths: list[int]) -> None:
    walls = [Box(100, 0, 102, 460)]
    found = place(points, ["x" * n for n, _ in zip(lengths, points, strict=False)], 780, 460, walls)
    boxes = [p.box for p in found if p is not None]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in [*boxes[:i], *walls])
        assert 0 <= box.left < box.right <= 780
        assert 0 <= box.top < box.bottom <= 460
    for p, own in zip(found, points, strict=True):
        if p is not None:
            assert not any(
                p.box.left < x < p.box.right and p.box.top < y < p.box.bottom for x, y in points if (x, y) != own
            )


def test_no_name_of_25_spread_points_is_lost() -> None:
    points = [(40.0 + 170 * (i % 5), 60.0 + 80 * (i // 5)) for i in range(25)]
    assert None not in place(points, ["14B-Instruct gptq-int8"] * 25, 780, 460)
