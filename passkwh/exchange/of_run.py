"""What exports of several formats say of a run: its energies with what they are, and its tasks' prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from passkwh import benchmarks
from passkwh.analysis.frames import Frames, Run
from passkwh.errors import UsageError
from passkwh.exchange.output_files import file_name
from passkwh.harness.meter.energies import counted_total
from passkwh.harness.runs.folder import RunFolder
from passkwh.prompts import Request
from passkwh.records import ChannelInfo, Energy, Sample, Summary


def samples_of(run: Run) -> list[Sample]:
    """A run's samples as records, in order of time."""
    return RunFolder.open(run.path).samples()


def energy_texts(run: Run) -> dict[str, str]:
    """Energies of a run as texts by name, each figure with all its digits: what formats take that allow texts only.

    A missing energy is not among them; ``energy_reason`` says why.
    """
    summary, manifest = run.summary, run.manifest
    figures = {
        name: getattr(summary, name)
        for name in (
            "energy_kwh", "gross_energy_j", "net_energy_j", "generation_energy_j", "evaluation_energy_j", "pass_at_kwh",
            "solved_per_kwh", "joules_per_token", "reasoning_energy_j",
        )
    }  # fmt: skip
    figures["energy_se_j"] = run.energy_se_j()
    texts = {name: repr(float(value)) for name, value in figures.items() if value is not None}
    texts["energy_convention"] = run.convention.describe()
    texts["energy_provenance"] = provenance(summary)
    if summary.energy_reason:
        texts["energy_reason"] = summary.energy_reason
    if run.convention_note:
        texts["energy_convention_note"] = run.convention_note
    texts["energy_meter"] = manifest.meter.name
    texts["energy_channels"] = "; ".join(map(channel_text, manifest.meter.channels)) or "none"
    if manifest.imported:
        texts["imported_from"] = manifest.imported.origin
    return texts


def provenance(summary: Summary) -> str:
    """``measured``, ``estimated``, ``simulated`` or ``mixed``; ``missing`` where there is no energy."""
    return "missing" if summary.gross_energy_j is None and summary.net_energy_j is None else summary.provenance


def channel_text(channel: ChannelInfo) -> str:
    """One channel in words."""
    counted = "counted" if channel.counted else "not counted"
    return f"{channel.name}: {channel.provenance}, {counted}, {channel.source}"


def energy_note(run: Run) -> str:
    """A run's energy in one sentence, for formats whose only place for it is a note."""
    summary = run.summary
    if summary.energy_kwh is None:
        return f"energy missing: {summary.energy_reason or 'the run has none'}"
    per_kwh = "" if summary.pass_at_kwh is None else f", pass@kWh {summary.pass_at_kwh:.6g}"
    return (
        f"energy {summary.energy_kwh:.6g} kWh, {provenance(summary)}{per_kwh} (convention {run.convention.describe()})"
    )


def sample_energy(run: Run, energies: Mapping[str, Energy]) -> Energy:
    """A sample's energy over the channels that count."""
    channels = run.manifest.meter.channels
    if lacking := [channel.name for channel in channels if channel.counted and channel.name not in energies]:
        return Energy(gross_j=None, net_j=None, reason=f"the sample states no energy of {', '.join(lacking)}")
    return counted_total(channels, energies, run.summary.energy_reason or "no channel is counted")


def requests_of(run: Run) -> tuple[Mapping[str, Request], str | None]:
    """What each task asked, by its id; and why there are none: the tasks are not here, or are others."""
    spec, info = run.manifest.spec, run.manifest.benchmark
    try:
        benchmark = benchmarks.open(spec.benchmark, spec.benchmark_options, spec.limit, spec.task_ids)
    except UsageError as error:
        return {}, f"prompts of {info.name} are not in a run folder, and its tasks cannot be opened here ({error})"
    if benchmark.info.sha256 != info.sha256:
        return {}, f"prompts of {info.name} are not in a run folder, and its tasks here are others"
    return {task.task_id: task.request for task in benchmark.tasks}, None


def prompt_text(run: Run, requests: Mapping[str, Request], task_id: str) -> str:
    """What the model was asked, or where that stands."""
    request, info = requests.get(task_id), run.manifest.benchmark
    if request is None:
        return f"[the prompt of {task_id} of {info.name}: {info.source}, sha256 {info.sha256}]"
    return request.instruction if run.manifest.model.chat and not request.raw else request.text


def distinct_names(frames: Frames) -> Iterator[tuple[Run, str]]:
    """Each run with a name of its own for files: its run id, with a number where two have the same."""
    seen: dict[str, int] = {}
    for run in frames.runs:
        name = file_name(run.manifest.run_id)
        seen[name] = seen.get(name, 0) + 1
        yield run, name if seen[name] == 1 else f"{name}-{seen[name]}"
