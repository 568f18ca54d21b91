"""What making a checkpoint costs: the meter for work that is no run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from passkwh.adapters.quantization.make import SpentEnergy
from passkwh.harness.meter.base import open_meter
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import Trace


@contextmanager
def quantizing_span(meter: str) -> Iterator[Callable[[], SpentEnergy]]:
    """Record the block; what is yielded tells afterwards what the counted channels drew in it, idle power included."""
    channels = open_meter(meter)
    tables: list[pa.Table] = []
    span: list[int] = []

    def spent() -> SpentEnergy:
        counted = [channel.info for channel in channels if channel.info.counted]
        trace = Trace.from_table(pa.concat_tables(tables), [channel.info for channel in channels])
        energies = [trace.energy(info.name, 0, span[0], span[1]) for info in counted]
        kinds = {info.provenance for info in counted}
        missing = next((energy.reason for energy in energies if energy.gross_j is None), None)
        if missing or not energies:
            return SpentEnergy(gross_j=None, provenance=None, reason=missing or "the meter has no channel that counts")
        total_j = sum(energy.gross_j or 0.0 for energy in energies)
        return SpentEnergy(gross_j=total_j, provenance=kinds.pop() if len(kinds) == 1 else "mixed")

    try:
        with Recorder(channels, tables.append, session=0) as recorder:
            start_ns = recorder.mark()
            yield spent
            span += [start_ns, recorder.mark()]
    finally:
        for channel in channels:
            channel.close()
