"""MLPerf's records of a system and of its power, for each run; no result that could be submitted.

Two of MLPerf's files are written, from what was recorded and nothing else:

- ``systems/RUN.json``: the system description, with the fields that the submission checker of MLPerf Inference v6.1
  demands (``SYSTEM_DESC_REQUIRED_FIELDS``). What a run does not record is ``not recorded``.
- ``power/RUN/node_0.txt``: the power log of MLPerf Training v4.0 and later, lines of mlperf-logging: power over each
  interval of the time in which completions were generated, from the run's trace. Its reader multiplies each reading by
  the time since the one before, which gives back the trace's energy.

``power/RUN/energy.json`` is ours: energy per stream (millijoules, as the checker's power metric of SingleStream), what
it is of, and what a power submission has besides. MLPerf Inference takes power from a SPEC PTDaemon log of an approved
analyzer at the wall (``spl.txt``, ``ptd_logs.txt``), and there is none.
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from passkwh.analysis.frames import Frames, Run
from passkwh.errors import UsageError
from passkwh.exchange.of_run import channel_text, distinct_names, energy_texts, samples_of
from passkwh.exchange.output_files import write_json, writing_to
from passkwh.harness.meter.trace import Trace
from passkwh.harness.runs.files import write_atomic
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.records import ChannelInfo
from passkwh.units import NS_PER_MS

INFERENCE = "v6.1"
NOT_RECORDED = "not recorded"
INTERVAL_MS = 100
"""Power is averaged over so much."""
MOST_READINGS = 20_000
"""Of a log: a longer run has longer intervals."""
LACKING = (
    "spl.txt, ptd_logs.txt, client.json, client.log, server.json, server.log: power of the whole system at the wall, "
    "logged by SPEC PTDaemon from an approved analyzer",
    "mlperf_log_summary.txt, mlperf_log_detail.txt: LoadGen's logs, whose performance phase power is taken in",
    "a ranging run, analyzer_table, power_settings",
    "an accuracy run on one of MLPerf's own models and data sets",
)
"""What a power submission to MLPerf Inference has besides."""


class MlPerf:
    """The export format ``mlperf``."""

    summary = f"MLPerf's system description (Inference {INFERENCE}) and power log (Training v4.0), no submission"

    def write(self, frames: Frames, path: Path) -> list[Path]:
        """A system description, an energy record and, where the run has a trace, a power log for each run."""
        files: list[Path] = []
        with writing_to(path):
            for run, name in distinct_names(frames):
                system, folder = path / "systems" / f"{name}.json", path / "power" / name
                write_json(system, system_description(run))
                lines, why = power_log(run)
                folder.mkdir(parents=True, exist_ok=True)
                if lines:
                    write_atomic(folder / "node_0.txt", "".join(f"{line}\n" for line in lines))
                    files.append(folder / "node_0.txt")
                write_json(folder / "energy.json", energy_record(run, why))
                files += [system, folder / "energy.json"]
        return sorted(files)


def system_description(run: Run) -> dict[str, Any]:
    """What is known of the machine, in MLPerf's fields."""
    manifest, host = run.manifest, run.manifest.host
    gpus = host.gpus
    elsewhere = manifest.model.place == "elsewhere"
    known: dict[str, Any] = {
        "division": "open",
        "system_name": NOT_RECORDED if elsewhere else f"{host.cpu}{f', {len(gpus)}x {gpus[0].name}' if gpus else ''}",
        "host_processor_model_name": host.cpu,
        "host_processor_core_count": str(host.cores),
        "host_memory_capacity": _capacity(host.memory_bytes),
        "accelerators_per_node": str(len(gpus)),
        "accelerator_model_name": gpus[0].name if gpus else "none",
        "accelerator_memory_capacity": _capacity(gpus[0].memory_bytes) if gpus else "none",
        "framework": f"{manifest.model.engine} {manifest.model.engine_info.get('version', '')}".strip(),
        "operating_system": f"{host.os} {host.kernel}",
        "other_software_stack": ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items())),
        "sw_notes": f"pass@kWh run {manifest.run_id}: {manifest.model.name}, {manifest.model.quant}, "
        f"{manifest.benchmark.name}; not an MLPerf result",
        "hw_notes": "; ".join(map(channel_text, manifest.meter.channels)) or "no channel was metered",
    }
    if elsewhere:  # the host is the one that asked and judged
        kept = ("division", "sw_notes", "hw_notes", "framework")
        known = {name: value if name in kept else NOT_RECORDED for name, value in known.items()}
    return {name: known.get(name, NOT_RECORDED) for name in SYSTEM_FIELDS}


def _capacity(size_bytes: int | None) -> str:
    return NOT_RECORDED if size_bytes is None else f"{size_bytes / 2**30:.0f} GB"


SYSTEM_FIELDS = (
    "division", "submitter", "status", "system_name", "number_of_nodes", "host_processor_model_name",
    "host_processors_per_node", "host_processor_core_count", "host_memory_capacity", "host_storage_capacity",
    "host_storage_type", "accelerators_per_node", "accelerator_model_name", "accelerator_memory_capacity", "framework",
    "operating_system", "system_type", "other_software_stack", "host_processor_frequency", "host_processor_caches",
    "host_memory_configuration", "host_processor_interconnect", "host_networking", "host_networking_topology",
    "accelerator_frequency", "accelerator_host_interconnect", "accelerator_interconnect",
    "accelerator_interconnect_topology", "accelerator_memory_configuration", "accelerator_on-chip_memories", "cooling",
    "hw_notes", "sw_notes", "host_network_card_count", "system_type_detail",
)  # fmt: skip
"""That the checker of MLPerf Inference v6.1 demands."""


def energy_record(run: Run, why_no_log: str | None) -> dict[str, Any]:
    """Ours: energy per stream and what it is of."""
    summary = run.summary
    joules = summary.net_energy_j if run.convention.energy == "net" else summary.gross_energy_j
    return {
        "of": "pass@kWh: no MLPerf result, and not to be called one",
        "run_id": run.manifest.run_id,
        "scenario": "SingleStream" if run.manifest.spec.at_once == 1 else "Offline",
        "queries": summary.samples,
        "energy_per_stream_mj": None if joules is None else joules * 1000.0 / summary.samples,
        "energy_per_stream_unit": "millijoules a query, of generating and, by the convention, scoring",
        "energy": energy_texts(run),
        "power_log": None if why_no_log else "node_0.txt",
        "power_log_reason": why_no_log,
        "lacking_for_a_submission": list(LACKING),
    }


def power_log(run: Run) -> tuple[list[str], str | None]:
    """Lines of mlperf-logging with the power of the counted channels while completions were generated; or why none.

    The log is of the run's first session: MLPerf's has one start and one end.
    """
    counted = [channel for channel in run.manifest.meter.channels if channel.counted]
    if run.manifest.imported:
        return [], run.manifest.imported.why_no_energy if not counted else "the trace did not come with the import"
    if not counted:
        return [], run.summary.energy_reason or "no channel is counted"
    try:
        trace = Trace.from_table(RunFolder.open(run.path).trace(), run.manifest.meter.channels)
    except UsageError as error:
        return [], f"the run's trace cannot be read ({error})"
    spans = SampleTable.of(samples_of(run)).measured
    first = spans.session == spans.session.min()
    session = int(spans.session.min())
    start_ns, end_ns = int(spans.start_ns[first].min()), int(spans.end_ns[first].max())
    length_ms = (end_ns - start_ns) // NS_PER_MS
    step_ms = max(INTERVAL_MS, -(-length_ms // MOST_READINGS))
    edges_ms = [*range(0, length_ms, step_ms), length_ms]
    readings: list[tuple[int, float]] = []
    for begin_ms, finish_ms in pairwise(edges_ms):
        joules = _joules(trace, counted, session, start_ns + begin_ms * NS_PER_MS, start_ns + finish_ms * NS_PER_MS)
        if joules is None:
            return [], "the trace has a gap in the time of generating"
        readings.append((finish_ms, joules * 1000.0 / (finish_ms - begin_ms)))
    if not readings:
        return [], "completions were generated in less than a millisecond"
    started = run.manifest.sessions[session].started_at
    return _lines(int(datetime.fromisoformat(started).timestamp() * 1000), readings, run, length_ms), None


def _joules(trace: Trace, counted: list[ChannelInfo], session: int, start_ns: int, end_ns: int) -> float | None:
    parts = [trace.energy(channel.name, session, start_ns, end_ns).gross_j for channel in counted]
    return None if any(part is None for part in parts) else sum(part for part in parts if part is not None)


def _lines(start_ms: int, readings: list[tuple[int, float]], run: Run, length_ms: int) -> list[str]:
    metadata = {
        "run_id": run.manifest.run_id, "provenance": run.summary.provenance,
        "channels": [channel_text(c) for c in run.manifest.meter.channels if c.counted],
    }  # fmt: skip
    lines = [_line(start_ms, "INTERVAL_START", "power_measurement_start", None, metadata)]
    lines += [_line(start_ms + at_ms, "POINT_IN_TIME", "power_reading", watts, {}) for at_ms, watts in readings]
    return [*lines, _line(start_ms + length_ms, "INTERVAL_END", "power_measurement_stop", None, {})]


def _line(time_ms: int, event: str, key: str, value: float | None, metadata: dict[str, Any]) -> str:
    place = {"file": "passkwh", "lineno": 0}
    content = {
        "namespace": "", "time_ms": time_ms, "event_type": event, "key": key, "value": value,
        "metadata": {**metadata, **place},
    }  # fmt: skip
    return f":::MLLOG {json.dumps(content, allow_nan=False)}"


MLPERF = MlPerf()
