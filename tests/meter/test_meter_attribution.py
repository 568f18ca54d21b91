"""Shares of a batch: they add up, they follow the stated rule, and missing stays missing."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.harness.meter.attribution import PREFILL_WEIGHT, phases, split, split_phases, token_weights
from passkwh.harness.meter.energies import Spans
from passkwh.records import Energy, IdleBaseline, Window
from tests.meter.lab import polled, truth_j, window_ns

TOKENS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 2000)), min_size=1, max_size=64)


@given(TOKENS, st.floats(0, 1e7), st.floats(-1e4, 1e7))
def test_shares_add_up_to_the_batch(tokens: list[tuple[int, int]], gross_j: float, net_j: float) -> None:
    shares = split(Energy(gross_j=gross_j, net_j=net_j, se_j=1.0), token_weights(tokens))
    assert fsum(share.gross_j or 0.0 for share in shares) == pytest.approx(gross_j, rel=1e-12, abs=1e-12)
    assert fsum(share.net_j or 0.0 for share in shares) == pytest.approx(net_j, rel=1e-12, abs=1e-9)
    assert all(share.gross_j is not None and share.gross_j >= -1e-9 for share in shares)


def test_the_rule_is_tokens_with_prompts_counting_less() -> None:
    shares = split(Energy(gross_j=30.0, net_j=None, reason="no idle baseline"), token_weights([(100, 10), (0, 10)]))
    expected = (100 * PREFILL_WEIGHT + 10) / (100 * PREFILL_WEIGHT + 20)
    assert shares[0].gross_j == pytest.approx(30.0 * expected)
    assert shares[0].net_j is None
    assert shares[0].reason == "no idle baseline"


def test_samples_without_tokens_share_alike() -> None:
    assert [share.gross_j for share in split(Energy(gross_j=9.0, net_j=9.0), token_weights([(0, 0)] * 3))] == [3.0] * 3


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -0.5], [float("nan")]])
def test_weights_that_mean_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(Energy(gross_j=1.0, net_j=1.0), weights)


def test_phases_are_cut_at_the_first_token_and_add_up() -> None:
    trace, sensor = polled("counter-20ms", 20.0)
    start_ns, end_ns = window_ns(4.0, 9.0)
    first_ns = window_ns(5.5, 5.5)[0]
    window = Window(kind="generate", session=0, start_ns=start_ns, end_ns=end_ns)
    idle = IdleBaseline(channel="lab", mean_w=60.0, se_w=0.1, duration_s=2.0)
    both = phases(trace, "lab", Spans.of([window]), np.array([first_ns]), {0: idle})
    (prefill,), (decode,) = both.prefill.records(), both.decode.records()
    whole = trace.energy("lab", 0, start_ns, end_ns, idle)
    assert prefill.gross_j == pytest.approx(truth_j(sensor, 4.0, 5.5), rel=0.03)
    assert decode.gross_j == pytest.approx(truth_j(sensor, 5.5, 9.0), rel=0.03)
    assert prefill.gross_j is not None
    assert decode.gross_j is not None
    assert prefill.gross_j + decode.gross_j == pytest.approx(whole.gross_j)
    shares = split_phases(both, np.array([0, 0]), np.array([300.0, 100.0]), np.array([20.0, 60.0]))
    assert shares.prefill.records()[0].gross_j == pytest.approx(prefill.gross_j * 0.75)
    assert shares.decode.records()[1].gross_j == pytest.approx(decode.gross_j * 0.75)
    with pytest.raises(ValueError, match="outside"):
        phases(trace, "lab", Spans.of([window]), np.array([start_ns - 1]))
