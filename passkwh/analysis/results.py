"""Results of statistics: typed, immutable, ready for JSON. A number that does not exist is None and says why."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.records import Record


def finite(value: float | None) -> float | None:
    """``value`` as a plain float, or None where it is missing, infinite or not a number."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


class TestResult(Record):
    """One hypothesis test."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    test: str
    statistic: float | None
    p_value: float | None
    n: Annotated[int, Field(ge=0, description="observations, or matched tasks for a paired test")]
    df: float | None = None
    df_denominator: Annotated[float | None, Field(description="second degrees of freedom, of an F test")] = None
    effect: Annotated[float | None, Field(description="size of the effect, where the test has a usual one")] = None
    effect_name: str | None = None
    reason: Annotated[str | None, Field(description="why a value is missing")] = None


def no_result(test: str, n: int, reason: str) -> TestResult:
    """A test that could not be done, and why."""
    return TestResult(test=test, statistic=None, p_value=None, n=n, reason=reason)


class PairwiseResult(Record):
    """Post-hoc p-values of every pair; the matrix is symmetric with 1 on its diagonal."""

    test: str
    adjustment: Annotated[str, Field(description="none, bonferroni, holm, bh, or single-step")]
    labels: tuple[str, ...]
    p_values: tuple[tuple[float | None, ...], ...]
    reason: str | None = None


def pairwise_result(
    test: str, adjustment: str, labels: tuple[str, ...], p_values: NDArray[np.float64]
) -> PairwiseResult:
    """Post-hoc tests from a matrix of p-values, shape (labels, labels)."""
    rows = tuple(tuple(float(p) for p in row) for row in p_values)
    return PairwiseResult(test=test, adjustment=adjustment, labels=labels, p_values=rows)


def no_pairs(test: str, adjustment: str, labels: tuple[str, ...], reason: str) -> PairwiseResult:
    """Post-hoc tests that could not be done, and why."""
    empty = tuple(tuple(None for _ in labels) for _ in labels)
    return PairwiseResult(test=test, adjustment=adjustment, labels=labels, p_values=empty, reason=reason)


class Interval(Record):
    """An estimate with its confidence interval."""

    measure: str
    label: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    reason: Annotated[str | None, Field(description="why a value is missing")] = None
    note: Annotated[str | None, Field(description="what the interval rests on, where that is not the usual")] = None


class Contrast(Record):
    """Two configurations compared on one measure: ``a`` minus ``b`` and ``a`` over ``b``."""

    measure: str
    a: str
    b: str
    difference: Interval
    ratio: Interval


class Finding(Record):
    """A sentence a reader needs, with what it rests on."""

    subject: str
    text: str
