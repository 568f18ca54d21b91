"""What configurations would need by computation alone (tables 5.14, 5.19, 5.25, 5.30, 5.35): estimated only."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.analysis.estimate.architecture import known_model
from passkwh.analysis.estimate.cost import Estimate, Workload, estimate_cost
from passkwh.analysis.estimate.devices import find_device
from passkwh.analysis.frames import Run
from passkwh.analysis.pooling import Comparison
from passkwh.errors import UsageError
from passkwh.records import Record


class Requirement(Record):
    """A configuration's computed cost for its mean prompt and answer on its own accelerator, or why there is none."""

    label: str
    estimate: Estimate | None
    reason: str | None = None


def requirements(comparison: Comparison, labels: Sequence[str]) -> tuple[Requirement, ...]:
    """Estimate each configuration from its first run's model, accelerator and mean token counts."""
    rows = []
    for configuration in comparison.configurations:
        if configuration.label in labels:
            run = comparison.frames.runs[configuration.runs[0]]
            try:
                rows.append(Requirement(label=configuration.label, estimate=_estimate(run)))
            except UsageError as error:
                rows.append(Requirement(label=configuration.label, estimate=None, reason=str(error)))
    return tuple(rows)


def _estimate(run: Run) -> Estimate:
    name = run.manifest.model.name
    known = known_model(name)
    if known is None:
        raise UsageError("the sizes of its layers are not known: the program holds none of a model of this name")
    gpus = run.manifest.host.gpus
    if not gpus:
        raise UsageError("it ran without an accelerator, and only those have known peak rates")
    try:
        device = find_device(gpus[0].name)
    except UsageError as error:
        raise UsageError(f"peak rates of {gpus[0].name} are not known") from error
    summary = run.summary
    if summary.prompt_tokens is None or summary.completion_tokens is None:
        raise UsageError("another tool generated, and its tokens are not known")
    workload = Workload.model_validate(
        {
            "prompt_tokens": max(1, round(summary.prompt_tokens / summary.samples)),
            "new_tokens": max(1, round(summary.completion_tokens / summary.samples)),
            "batch_size": run.manifest.spec.at_once,
            "quant": run.manifest.model.quant,
            "exit_layer": summary.mean_exit_layer,
        }
    )
    return estimate_cost(known.architecture, device, workload)
