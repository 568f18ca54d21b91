"""The estimator fitted to measured runs: what a device reaches in practice, and predicted against measured.

measured time = ideal time / efficiency + overhead x steps, and energy = power x time: three numbers for a device.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from passkwh.analysis.estimate.architecture import Architecture, find_architecture
from passkwh.analysis.estimate.cost import Efficiency, Workload, estimate_cost
from passkwh.analysis.estimate.devices import Device
from passkwh.analysis.frames import Frames
from passkwh.errors import UsageError
from passkwh.records import Record

Floats = NDArray[np.float64]


class PredictedRun(Record):
    """One run's generation, as measured and as the fit gives it back."""

    run: str
    model: str
    provenance: Annotated[str, Field(description="of the measured energy")]
    measured_s: float
    predicted_s: float
    time_error: Annotated[float, Field(description="predicted / measured - 1")]
    measured_j: float | None
    predicted_j: float
    energy_error: float | None
    left_out_time_error: Annotated[float | None, Field(description="with this run left out of the fit")] = None


class EstimatorFit(Record):
    """What the runs say about the device."""

    device: str
    efficiency: Annotated[float | None, Field(description="share of the peak rates; None when overhead explains all")]
    step_overhead_s: float
    power_w: Annotated[float | None, Field(description="mean power while generating; None when no run has energy")]
    runs: tuple[PredictedRun, ...]
    notes: tuple[str, ...] = ()

    def reached(self) -> Efficiency:
        """The fit as an efficiency for ``estimate_cost``."""
        share = self.efficiency if self.efficiency is not None else 1e9
        return Efficiency(compute=share, bandwidth=share, step_overhead_s=self.step_overhead_s, power_w=self.power_w)


def fit_estimator(frames: Frames, device: Device) -> EstimatorFit:
    """Fit to runs by least squares of relative errors, with non-negative terms.

    Raises:
        UsageError: for a run of a model that is not known.
    """
    ideal, steps, measured, energy = [], [], [], []
    for position, run in enumerate(frames.runs):
        if run.manifest.spec.concurrency > 1:
            raise UsageError(f"--fit: {run.path} kept requests in flight, and the estimate is of batches: leave it out")
        architecture = _architecture(run.manifest.model.name, run.manifest.model.checkpoint)
        own = frames.samples[frames.samples["run"] == position]
        seconds, count = _ideal(architecture, device, own, run.manifest.model.quant)
        ideal.append(seconds)
        steps.append(count)
        measured.append(run.summary.generation_s or 0.0)
        energy.append(run.summary.generation_energy_j)
    x = np.column_stack([ideal, steps]).astype(np.float64)
    y = np.array(measured, dtype=np.float64)
    if not (y > 0).all():
        raise UsageError("--fit: a run generated for no time at all, or in another tool; leave it out")
    slope, overhead = _solve(x, y)
    known = [(e, t) for e, t in zip(energy, measured, strict=True) if e is not None]
    power_w = sum(e for e, _ in known) / sum(t for _, t in known) if known else None
    predicted = x @ np.array([slope, overhead])
    rows = []
    for i, run in enumerate(frames.runs):
        joules, spent = predicted[i] * (power_w or 0.0), energy[i]
        rows.append(
            PredictedRun(
                run=str(run.path), model=run.manifest.model.name, provenance=run.summary.provenance,
                measured_s=float(y[i]), predicted_s=float(predicted[i]), time_error=float(predicted[i] / y[i] - 1),
                measured_j=spent, predicted_j=float(joules),
                energy_error=float(joules / spent - 1) if spent and power_w else None,
                left_out_time_error=_left_out(x, y, i) if len(y) > 2 else None,
            )
        )  # fmt: skip
    notes = []
    if len(y) < 3:
        notes.append(f"fitted to {len(y)} run(s): errors are of the fit itself and say little about other models")
    if power_w is None:
        notes.append("no run has an energy: power stays the TDP")
    return EstimatorFit(
        device=device.name, efficiency=float(1 / slope) if slope > 0 else None, step_overhead_s=float(overhead),
        power_w=power_w, runs=tuple(rows), notes=tuple(notes),
    )  # fmt: skip


def _solve(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and overhead; with one run only the slope can be told."""
    if len(y) == 1:
        return float(y[0] / x[0, 0]), 0.0
    from scipy import optimize

    slope, overhead = optimize.nnls(x / y[:, None], np.ones(len(y)))[0]
    return float(slope), float(overhead)


def _left_out(x: Floats, y: Floats, i: int) -> float:
    keep = np.arange(len(y)) != i
    return float(x[i] @ np.array(_solve(x[keep], y[keep])) / y[i] - 1)


def _ideal(architecture: Architecture, device: Device, samples: Any, quant: str) -> tuple[float, int]:
    """Time at peak rates and number of steps of a run, batch by batch: a batch goes on until its longest row ends."""
    total, steps = 0.0, 0

    for _, batch in samples.groupby("batch_id"):
        new = max(int(batch["completion_tokens"].max()), 1)
        workload = Workload.model_validate(
            {
                "prompt_tokens": max(round(float(batch["prompt_tokens"].mean())), 1),
                "new_tokens": new,
                "batch_size": len(batch),
                "quant": quant,
            }
        )
        total += estimate_cost(architecture, device, workload).tgt_s
        steps += new
    return total, steps


def _architecture(name: str, checkpoint: str) -> Architecture:
    for candidate in (name, checkpoint):
        try:
            return find_architecture(candidate)[0]
        except UsageError:
            continue
    raise UsageError(f"--fit: {name} is not a model known here, and {checkpoint} holds no config.json; leave it out")
