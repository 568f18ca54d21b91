"""Joules of batches while the service runs: what the trace says, split over rows, and missing with a reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from passkwh.adapters.engines.base import Model
from passkwh.records import ChannelInfo, Energy
from passkwh.serve.energy_attribution import EnergyAttribution
from passkwh.serve.usage import energy_of


@contextmanager
def running(meter: str, model: Model, idle_s: float = 0) -> Iterator[tuple[EnergyAttribution, list[Energy]]]:
    reported: list[Energy] = []

    def report(channel: ChannelInfo, energy: Energy) -> None:
        reported.append(energy)

    attribution = EnergyAttribution(meter, model.info, 60, report)
    attribution.start(idle_s)
    try:
        yield attribution, reported
    finally:
        attribution.stop()


def test_batches_get_their_joules_and_rows_their_shares(model: Model) -> None:
    # A counter that steps every millisecond: on a busy machine, too, little is then uncertain at the edges of a window.
    with running("simulated:steady,period=0.001", model, idle_s=1.0) as (attribution, reported):
        booked = []
        for _ in range(2):
            start_ns = attribution.mark()
            time.sleep(0.5)
            booked.append((start_ns, end_ns := attribution.mark()))
            pending = attribution.attribute(start_ns, end_ns, [(100, 10), (0, 20)])
        rows = pending.result(120)
    (name,) = (channel.name for channel in attribution.channels)
    for energy, (start_ns, end_ns) in zip(reported, booked, strict=True):
        assert energy.gross_j == pytest.approx(100 * (end_ns - start_ns) / 1e9, rel=0.05)  # 100 W throughout
        assert energy.net_j == pytest.approx(0, abs=5)
    shares = [row[name].gross_j or 0 for row in rows]
    assert sum(shares) == pytest.approx(reported[-1].gross_j)
    assert shares[0] == pytest.approx(shares[1])  # 100 prompt tokens weigh as much as 10 generated ones
    together = energy_of(rows, attribution.channels, attribution.no_energy)
    assert together["gross_j"] == pytest.approx(reported[-1].gross_j)
    assert together["provenance"] == "simulated"


def test_a_device_that_is_lost_leaves_no_energy_but_a_reason(model: Model) -> None:
    with running("simulated:counter-20ms,lost=0.2", model) as (attribution, reported):
        time.sleep(1.0)
        start_ns = attribution.mark()
        time.sleep(0.2)
        rows = attribution.attribute(start_ns, attribution.mark(), [(1, 1)]).result(120)
    together = energy_of(rows, attribution.channels, attribution.no_energy)
    assert together["gross_j"] is None
    assert together["reason"] == reported[0].reason
    assert together["reason"]


def test_what_does_not_see_a_served_model_does_not_count(model: Model) -> None:
    class Served:
        info = model.info.model_copy(update={"place": "machine", "device": "server:localhost:1"})

    with running("estimate", Served()) as (attribution, _):  # type: ignore[arg-type]
        start_ns = attribution.mark()
        time.sleep(0.2)
        rows = attribution.attribute(start_ns, attribution.mark(), [(1, 1)]).result(120)
    together = energy_of(rows, attribution.channels, attribution.no_energy)
    assert (together["gross_j"], together["provenance"]) == (None, None)
    assert "no channel of --meter estimate sees the model" in together["reason"]
