"""Net energy taken anew from a run's raw trace, with another idle power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from passkwh.analysis.frames import Frames, Run, generation_only
from passkwh.errors import UsageError
from passkwh.harness.measure import measure
from passkwh.harness.meter.energies import Energies, Spans
from passkwh.harness.meter.trace import Trace
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.records import IdleBaseline

CHOICES = ("none", "before", "mean")
_NET = ["generation_net_j", "evaluation_net_j", "net_j"]


class _WithIdle(Trace):
    """A trace whose windows are net of given baselines, whatever the caller asks for."""

    baselines: dict[tuple[str, int], IdleBaseline]

    def energies(self, channel: str, spans: Spans, idle: Mapping[int, IdleBaseline] | None = None) -> Energies:
        """As a plain trace's, but net of this trace's own baselines wherever net is asked for."""
        chosen = None if idle is None else {session: self.baselines[channel, session] for session in idle}
        return super().energies(channel, spans, chosen)


def with_idle(frames: Frames, idle: str) -> Frames:
    """The same runs with net energies from their traces.

    ``idle`` is none (net is gross), before (the baseline before the work), mean (of those before and after), or a
    power in watts, which is shared equally by a run's counted channels.

    Raises:
        UsageError: for any other word, a negative power, or a run whose trace lacks the baseline.
    """
    watts = _watts(idle)
    samples = frames.samples.copy()
    runs = []
    for position, run in enumerate(frames.runs):
        measured = _measure(run, idle, watts)
        own = samples.index[samples["run"] == position]
        samples.loc[own, _NET] = measured.loc[samples.loc[own, "key"], _NET].to_numpy()
        total = float(samples.loc[own, "net_j"].sum(skipna=False))
        summary = run.summary.model_copy(update={"net_energy_j": total if np.isfinite(total) else None})
        runs.append(replace(run, summary=summary, idle=idle))
    return Frames(tuple(runs), samples)


def _watts(idle: str) -> float | None:
    if idle in CHOICES:
        return None
    try:
        watts = float(idle)
    except ValueError as error:
        raise UsageError(f"--idle {idle}: write none, before, mean, or a power in watts") from error
    if not (np.isfinite(watts) and watts >= 0):
        raise UsageError(f"--idle {idle}: a power in watts cannot be negative or infinite")
    return watts


def _measure(run: Run, idle: str, watts: float | None) -> pd.DataFrame:
    """The columns of ``_NET`` of every sample, by its key."""
    folder = RunFolder.open(run.path)
    channels = run.manifest.meter.channels
    trace = _WithIdle.from_table(folder.trace(), channels)
    assert isinstance(trace, _WithIdle)
    counted = [channel.name for channel in channels if channel.counted]
    share = None if watts is None else watts / max(len(counted), 1)
    trace.baselines = {
        (channel.name, session.index): _baseline(trace, run, channel.name, session.index, idle, share)
        for channel in channels
        for session in run.manifest.sessions
    }
    samples, _ = measure(run.manifest, folder.samples(), trace)
    table = SampleTable.of(samples).statistics(counted)
    columns = (table if run.convention.scoring else generation_only(table)).select(["key", *_NET])
    frame: pd.DataFrame = columns.to_pandas().set_index("key")
    return frame


def _baseline(trace: Trace, run: Run, channel: str, session: int, idle: str, share: float | None) -> IdleBaseline:
    if idle == "none" or share is not None:
        return IdleBaseline(channel=channel, mean_w=share or 0.0, se_w=0.0)
    kinds = ("idle_before",) if idle == "before" else ("idle_before", "idle_after")
    baselines = [trace.idle(channel, w) for w in run.manifest.sessions[session].windows if w.kind in kinds]
    powers = [b.mean_w for b in baselines if b.mean_w is not None]
    if len(powers) < len(kinds):
        raise UsageError(
            f"{run.path}: session {session} has no {' and '.join(kinds)} baseline of {channel}; "
            "use --idle with another choice or a power in watts"
        )
    return IdleBaseline(channel=channel, mean_w=float(np.mean(powers)), se_w=None)
