"""No damaged input ends in a traceback or a hang; ``perf/fuzz.py`` reads ten thousand."""

from __future__ import annotations

import os

import pytest

from perf.fuzz import fuzz


@pytest.mark.parametrize("inputs", [180, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_inputs_are_taken_or_refused_in_a_line(inputs: int) -> None:
    if inputs > 1000 and not os.environ.get("PASSKWH_FUZZ"):
        pytest.skip("takes minutes: set PASSKWH_FUZZ=1")
    seen = fuzz(inputs, seed=1)
    assert (seen["tracebacks"], seen["hangs"]) == (0, 0), seen["first_tracebacks"]
    assert set(seen["refused"]) >= set(seen["by_reader"]) - {"pack"}  # a pack is refused by its findings
