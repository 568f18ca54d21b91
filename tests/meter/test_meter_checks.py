"""Cross-checks and condition notes: quiet when all is well, and plain about what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.harness.meter.condition import drift, thermal
from passkwh.harness.meter.crosscheck import Balance, balance, disagreement
from passkwh.harness.meter.series import Missing, Series
from passkwh.harness.meter.simulated import PROFILES
from passkwh.harness.meter.trace import Trace
from passkwh.records import IdleBaseline, Window
from perf.laboratory import EPOCH_NS, Experiment, clock_ns
from tests.meter.lab import channel_info


def both(power_scale: float) -> Trace:
    """A device with a counter and a power sensor that shows ``power_scale`` times the truth."""
    counter = Experiment(PROFILES["counter-50ms"], 30.0).series
    power = Experiment(PROFILES["power"], 30.0, seed=5).series
    scaled = Series(power.time_ns, power.value * power_scale)
    return Trace([channel_info()], {(0, "lab", "energy_j"): counter, (0, "lab", "power_w"): scaled})


def test_counter_and_power_that_agree_raise_no_warning() -> None:
    found = disagreement(both(1.0), "lab", 0, clock_ns(3.0), clock_ns(28.0))
    assert found is not None
    assert abs(found.relative) < 0.01
    assert found.warning() is None


def test_counter_and_power_that_disagree_are_named_with_value_threshold_and_advice() -> None:
    found = disagreement(both(1.2), "lab", 0, clock_ns(3.0), clock_ns(28.0))
    assert found is not None
    assert found.relative == pytest.approx(0.2, abs=0.01)
    warning = found.warning()
    assert warning is not None
    for word in ("lab", "+20", "threshold 5%", "bench doctor --meter"):
        assert word in warning


def test_nothing_is_compared_where_one_of_the_two_is_not_there() -> None:
    assert disagreement(Experiment(PROFILES["power"], 10.0).trace, "lab", 0, clock_ns(2.0), clock_ns(8.0)) is None
    assert disagreement(both(1.0), "lab", 0, clock_ns(3.0), clock_ns(99.0)) is None


TRACE = Experiment(PROFILES["counter-50ms"], 60.0).trace


def window(kind: str, start_s: float, end_s: float) -> Window:
    return Window.model_validate({"kind": kind, "session": 0, "start_ns": clock_ns(start_s), "end_ns": clock_ns(end_s)})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.5, 58.0), min_size=2, max_size=20, unique=True))
def test_windows_and_the_rest_add_up_to_the_trace(edges_s: list[float]) -> None:
    kinds = ["idle_before", "generate", "score"]
    marks = sorted(edges_s)
    windows = [window(kinds[number % 3], marks[2 * number], marks[2 * number + 1]) for number in range(len(marks) // 2)]
    found = balance(TRACE, "lab", 0, windows)
    assert isinstance(found, Balance)
    assert found.total_j == pytest.approx(sum(found.by_kind.values()) + found.unattributed_j, rel=1e-9)
    assert found.warning() is None


def test_the_books_of_a_session_that_was_killed_add_up() -> None:
    """Its last window was noted, and what was read after the last round before its end never reached the disk."""
    span = TRACE.span("lab", 0)
    assert span is not None
    last = Window(kind="warmup", session=0, start_ns=span[1] - 5 * 10**9, end_ns=span[1] + 10**8)
    found = balance(TRACE, "lab", 0, [window("idle_before", 5.0, 20.0), last])
    assert isinstance(found, Balance)
    assert found.relative == pytest.approx(0.0, abs=1e-9)


def test_windows_of_different_kinds_that_overlap_are_found() -> None:
    found = balance(TRACE, "lab", 0, [window("generate", 5.0, 20.0), window("score", 15.0, 30.0)])
    assert isinstance(found, Balance)
    assert found.relative > 0.05
    assert "overlap" in str(found.warning())


def test_parallel_scoring_is_counted_once() -> None:
    found = balance(TRACE, "lab", 0, [window("score", 5.0, 20.0), window("score", 15.0, 30.0)])
    assert isinstance(found, Balance)
    assert found.warning() is None
    assert found.by_kind["score"] == TRACE.energy("lab", 0, clock_ns(5.0), clock_ns(30.0)).gross_j


def test_books_of_a_trace_with_a_lost_device_are_missing() -> None:
    found = balance(Experiment(PROFILES["lost"], 40.0).trace, "lab", 0, [window("generate", 10.0, 30.0)])
    assert isinstance(found, Missing)
    assert "lost" in found.reason


def idle(mean_w: float | None, se_w: float = 0.1) -> IdleBaseline:
    return IdleBaseline(channel="lab", mean_w=mean_w, se_w=se_w, duration_s=10.0, reason=None if mean_w else "lost")


def test_drift_is_reported_when_it_matters_and_is_clear() -> None:
    found = drift(idle(60.0), idle(66.0))
    assert found is not None
    warning = str(found.warning(metered_s=10.0, gross_j=1000.0))  # 6 W x 10 s = 60 J of 1000 J
    for word in ("60.00 W", "66.00 W", "6%", "threshold 2%", "bench analyze --idle"):
        assert word in warning
    assert found.warning(metered_s=10.0, gross_j=4000.0) is None  # 1.5 % of gross
    unclear = drift(idle(60.0, 3.0), idle(66.0, 3.0))
    assert unclear is not None
    assert unclear.warning(metered_s=10.0, gross_j=1000.0) is None
    assert drift(idle(60.0), idle(None)) is None


def test_warming_and_throttling_are_noted() -> None:
    time_ns = EPOCH_NS + (np.arange(0, 60) * 1e9).astype(np.int64)
    trace = Trace(
        [channel_info()],
        {
            (0, "lab", "temperature_c"): Series(time_ns, np.linspace(40.0, 75.0, 60)),
            (0, "lab", "throttle_reasons"): Series(time_ns, np.where(np.arange(60) < 30, 1.0, 4.0 + 32.0)),
        },
    )
    found = thermal(trace, "lab", 0, clock_ns(0.0), clock_ns(59.0))
    assert found is not None
    assert (found.start_c, found.end_c, found.highest_c) == (40.0, 75.0, 75.0)
    assert found.throttled == {"power limit": 0.5, "temperature (software)": 0.5}
    notes = found.notes()
    assert len(notes) == 3
    assert "warmed from 40 to 75" in notes[0]
    cool = thermal(trace, "lab", 0, clock_ns(0.0), clock_ns(10.0))
    assert cool is not None
    assert cool.notes() == []
    assert thermal(TRACE, "lab", 0, clock_ns(0.0), clock_ns(10.0)) is None
