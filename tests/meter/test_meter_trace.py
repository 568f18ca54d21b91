"""Windows of a trace against a device whose truth is known."""

from __future__ import annotations

import pyarrow as pa
import pytest

from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace, net_se_j
from passkwh.records import IdleBaseline, Window
from tests.meter.lab import channel_info, polled, truth_j, window_ns


def rows(*readings: tuple[int, int, str, str, float | None, str | None]) -> pa.Table:
    names = TRACE_SCHEMA.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in readings], schema=TRACE_SCHEMA)


@pytest.mark.parametrize("profile", ["counter-20ms", "counter-50ms", "counter-100ms", "counter-1j", "rapl-wrap"])
def test_a_long_window_of_a_counter_is_right(profile: str) -> None:
    trace, sensor = polled(profile, 40.0)
    start_s, end_s = 3.21, 33.3
    energy = trace.energy("lab", 0, *window_ns(start_s, end_s))
    assert energy.gross_j == pytest.approx(truth_j(sensor, start_s, end_s), rel=0.002)
    assert energy.se_j is not None
    assert 0 < energy.se_j < 20


@pytest.mark.parametrize("profile", ["power", "power-1s"])
def test_a_long_window_of_a_power_sensor_is_right(profile: str) -> None:
    trace, sensor = polled(profile, 40.0)
    energy = trace.energy("lab", 0, *window_ns(2.2, 35.2))
    assert energy.gross_j == pytest.approx(truth_j(sensor, 2.2, 35.2), rel=0.005)


def test_net_is_gross_minus_idle_and_missing_without_one() -> None:
    trace, _ = polled("steady", 20.0)
    start_ns, end_ns = window_ns(5.0, 9.0)
    idle = IdleBaseline(channel="lab", mean_w=25.0, se_w=0.5, duration_s=10.0)
    energy = trace.energy("lab", 0, start_ns, end_ns, idle)
    assert energy.gross_j is not None
    assert energy.net_j == pytest.approx(energy.gross_j - 100.0)
    assert energy.se_j is not None
    assert net_se_j(energy, idle, 4.0) == pytest.approx((energy.se_j**2 + 2.0**2) ** 0.5)
    bare = trace.energy("lab", 0, start_ns, end_ns)
    assert bare.gross_j == energy.gross_j
    assert bare.net_j is None
    assert bare.reason == "no idle baseline"


def test_idle_is_the_mean_power_of_its_window() -> None:
    trace, _ = polled("steady", 20.0)
    start_ns, end_ns = window_ns(5.0, 15.0)
    idle = trace.idle("lab", Window(kind="idle_before", session=0, start_ns=start_ns, end_ns=end_ns))
    assert idle.mean_w == pytest.approx(100.0, rel=0.002)
    assert idle.duration_s == pytest.approx(10.0)
    assert idle.se_w is not None
    empty = trace.idle("lab", Window(kind="idle_before", session=0, start_ns=start_ns, end_ns=start_ns))
    assert empty.mean_w is None
    assert empty.reason


def test_missing_is_never_zero_and_says_why() -> None:
    for profile, word in (("lost", "lost"), ("reset", "reset"), ("dropout", "did not answer")):
        trace, _ = polled(profile, 30.0)
        energy = trace.energy("lab", 0, *window_ns(11.0, 25.0))
        assert energy.gross_j is None, profile
        assert energy.net_j is None
        assert energy.reason is not None
        assert word in energy.reason


def test_a_dropout_inside_a_window_costs_a_counter_nothing() -> None:
    trace, sensor = polled("dropout", 30.0)
    energy = trace.energy("lab", 0, *window_ns(5.0, 20.0))
    assert energy.gross_j == pytest.approx(truth_j(sensor, 5.0, 20.0), rel=0.005)


def test_windows_on_either_side_of_a_reset_are_whole() -> None:
    trace, sensor = polled("reset", 40.0)
    for start_s, end_s in ((5.0, 19.0), (21.0, 35.0)):
        energy = trace.energy("lab", 0, *window_ns(start_s, end_s))
        assert energy.gross_j == pytest.approx(truth_j(sensor, start_s, end_s), rel=0.01)


def test_sessions_and_channels_are_kept_apart_in_any_row_order() -> None:
    table = rows(
        (1, 2_000_000_000, "a", "power_w", 7.0, None),
        (0, 1_100_000_000, "a", "power_w", 5.0, None),
        (0, 1_000_000_000, "a", "power_w", 5.0, None),
        (0, 1_000_000_000, "b", "power_w", None, "no permission"),
        (1, 2_100_000_000, "a", "power_w", 7.0, None),
    )
    trace = Trace.from_table(
        pa.concat_tables([table.slice(0, 2), table.slice(2)]),
        [channel_info("power_w", "a"), channel_info("power_w", "b")],
    )
    assert trace.sessions() == [0, 1]
    assert trace.energy("a", 0, 1_000_000_000, 1_100_000_000).gross_j == pytest.approx(0.5)
    assert trace.energy("a", 1, 2_000_000_000, 2_100_000_000).gross_j == pytest.approx(0.7)
    missing = trace.energy("b", 0, 1_000_000_000, 1_100_000_000)
    assert (missing.gross_j, missing.reason) == (None, "no permission")
    assert "no readings" in str(trace.energy("b", 1, 2_000_000_000, 2_100_000_000).reason)


def test_an_empty_trace_knows_nothing() -> None:
    trace = Trace.from_table(TRACE_SCHEMA.empty_table(), [channel_info()])
    assert trace.energy("lab", 0, 0, 1).gross_j is None
    assert trace.span("lab", 0) is None
