"""Conversions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh import units


def test_a_kilowatt_hour_is_1000_watts_for_3600_seconds() -> None:
    assert units.joules_to_kwh(1000.0 * 3600.0) == 1.0
    assert units.ns_to_s(1_500_000_000) == 1.5


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_there_and_back(energy_j: float) -> None:
    assert units.kwh_to_joules(units.joules_to_kwh(energy_j)) == pytest.approx(energy_j, rel=1e-12)


@given(st.integers(min_value=0, max_value=10**15))
def test_nanoseconds_there_and_back(duration_ns: int) -> None:
    assert units.s_to_ns(units.ns_to_s(duration_ns)) == pytest.approx(duration_ns, abs=1)
