"""A configuration's page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from passkwh.analysis.frames import Run
from passkwh.measures import kinds
from passkwh.records import Manifest
from passkwh.reports.leaderboard.cells import figure, number
from passkwh.reports.leaderboard.configurations import Configuration
from passkwh.reports.leaderboard.detail import DomainLine
from passkwh.reports.leaderboard.rows import MEASURES
from passkwh.reports.leaderboard.timeline import Timeline

STAGES = (
    ("idle", "idle"), ("warmup", "warm-up"), ("generate", "generating"), ("score", "scoring"),
)  # fmt: skip
BAR_REM = 12.0


def render(configuration: Configuration, template: jinja2.Template, common: dict[str, Any]) -> str:
    """The page of one configuration. Text from submissions is escaped, by Jinja or by ``markup``."""
    row, runs = configuration.row, configuration.runs
    manifest = runs[0].manifest
    tiles = [figure(name, row.measures[name]) for name in MEASURES if name in row.measures]
    return template.render(
        **common,
        row=row,
        runs=len(runs),
        tiles=tiles,
        charts=[
            {"svg": Markup(power_svg(line, _kinds(manifest, line))), "channels": [one.channel for one in line.lines]}
            for line in configuration.timelines[:1]
            if line.lines
        ],
        stages=STAGES,
        domains=_domains(configuration.domains),
        facts=_facts(runs),
        command=command(manifest, len(runs)),
        tasks=Markup(configuration.task_rows),
    )


def command(manifest: Manifest, repeats: int) -> str:
    """The command that makes this configuration's runs again, every argument quoted for the shell."""
    spec = manifest.spec
    named = {
        "model": spec.model, "quant": spec.quant if spec.quant != "none" else None, "exit": spec.exit,
        "benchmark": spec.benchmark, "limit": spec.limit, "samples": spec.samples if spec.samples > 1 else None,
        "batch-size": spec.batch_size, "max-new-tokens": spec.max_new_tokens,
        "temperature": spec.temperature or None, "top-p": spec.top_p if spec.top_p < 1 else None,
        "seed": spec.seed or None, "repeats": repeats if repeats > 1 else None,
        "meter": spec.meter if spec.meter != "auto" else None,
    }  # fmt: skip
    words = ["bench", "run"]
    for name, value in named.items():
        if value is not None:
            # A value that begins like an option would be taken for one.
            words += [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]
    for key, option in spec.benchmark_options.items():
        words += ["--option", f"{key}={option}"]
    return shlex.join(words)


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    manifest, summary = runs[0].manifest, runs[0].summary
    model, spec, host = manifest.model, manifest.spec, manifest.host
    decoding = "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}, top-p {spec.top_p:g}"
    facts = [
        ("model", f"{model.checkpoint}, {model.revision[:19]}, {model.adapter}, {model.dtype} on {model.device}"),
        ("weights", f"{model.parameters:,}" if model.parameters else "not known"),
        ("quantization", ", ".join(f"{k} {v}" for k, v in model.quantization.items()) or model.quant),
        ("exit rule", spec.exit or "none: full depth"),
        ("decoding", f"{decoding}, at most {spec.max_new_tokens} new tokens, batch size {spec.batch_size}"),
        ("tasks", f"{manifest.benchmark.name} {manifest.benchmark.version}, {manifest.benchmark.source}, "
                  f"content {manifest.benchmark.sha256[:12]}"),
        ("host", f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 2**30:.0f} GiB; {host.os} {host.kernel}"),
    ]  # fmt: skip
    for gpu in host.gpus:
        limit = f", limit {gpu.power_limit_w:g} W" if gpu.power_limit_w else ""
        facts.append(("accelerator", f"{gpu.name}{limit}, driver {gpu.driver or 'not known'}"))
    facts.append(("meter", f"{manifest.meter.name}, every {manifest.meter.interval_s * 1000:g} ms"))
    for channel in manifest.meter.channels:
        extra = "" if channel.counted else "; not counted in the total"
        note = f"; {channel.note}" if channel.note else ""
        facts.append(("channel", f"{channel.name}: {channel.provenance}, {channel.source}{note}{extra}"))
    for total in summary.channels:
        before, after = total.idle_before, total.idle_after
        said = [
            f"{number(one.mean_w)} W {when}" if one.mean_w is not None else f"missing {when} ({one.reason})"
            for one, when in ((before, "before"), (after, "after"))
        ]
        facts.append((f"idle, {total.channel}", ", ".join(said)))
    facts.append(("windows", f"{number(summary.generation_s)} s generating, {number(summary.evaluation_s)} s scoring"))
    facts.append(("runs", ", ".join(f"{r.manifest.run_id} ({r.manifest.sessions[0].started_at})" for r in runs)))
    facts.append(("software", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())))
    return facts


def _domains(lines: Sequence[DomainLine]) -> list[dict[str, Any]]:
    most = max((line.energy_j or 0.0 for line in lines), default=0.0)
    return [
        {
            "name": line.domain,
            "tasks": line.tasks,
            "rate": number(line.pass_rate),
            "energy": number(line.energy_j),
            "per_token": number(line.joules_per_token),
            "width": round(BAR_REM * max(line.energy_j or 0.0, 0.0) / most, 2) if most > 0 else 0,
        }
        for line in lines
    ]


# ---------------------------------------------------------------- the picture of power


def _kinds(manifest: Manifest, line: Timeline) -> str:
    shown = {one.channel for one in line.lines}
    return kinds(channel.provenance for channel in manifest.meter.channels if channel.name in shown)


def power_svg(line: Timeline, provenance: str) -> str:
    """Power of each channel over time with the stages behind; colours come from the page's style.

    ``provenance`` says what its power is: measured, estimated, ...
    """
    width, height = 960, 250
    left, right, top, bottom = 62, 16, 14, 46
    powers = [p for one in line.lines for p in one.power_w if p is not None]
    highest = max(powers, default=0.0) * 1.08 or 1.0
    length = line.length_s or 1.0

    def x(seconds: float) -> float:
        return round(left + (width - left - right) * seconds / length, 1)

    def y(watts: float) -> float:
        return round(height - bottom - (height - top - bottom) * watts / highest, 1)

    said = f"{provenance.capitalize()} power over time, at most {highest / 1.08:.0f} W"
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{said}">']
    for stage in line.stages:
        kind = stage.kind.partition("_")[0]
        span = max(x(stage.end_s) - x(stage.start_s), 0.6)
        parts.append(
            f'<rect x="{x(stage.start_s)}" y="{top}" width="{span:.1f}" height="{height - top - bottom}" '
            f'fill="var(--{kind})" fill-opacity=".3"/>'
        )
    parts.append('<g class="axis">')
    for watts in ticks(highest):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(watts)}" y2="{y(watts)}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(watts) + 4}" text-anchor="end">{watts:g}</text>')
    for seconds in ticks(length, 8):
        parts.append(f'<text x="{x(seconds)}" y="{height - bottom + 18}" text-anchor="middle">{seconds:g}</text>')
    across, down = (left + width - right) / 2, (height - bottom) / 2
    parts.append(
        f'<text class="title" x="{across:.0f}" y="{height - 8}" text-anchor="middle">'
        "time since the first window (s)</text>"
    )
    parts.append(
        f'<text class="title" transform="translate(15 {down:.0f}) rotate(-90)" text-anchor="middle">'
        f"{provenance} power (W)</text></g>"
    )
    for number_, one in enumerate(line.lines):
        dashes = f' stroke-dasharray="{3 * number_} 3"' if number_ else ""
        for points in _runs_of_points(one.power_w, length):
            path = " ".join(f"{x(s)},{y(p)}" for s, p in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.3"{dashes}/>')
    return "".join([*parts, "</svg>"])


def ticks(highest: float, about: int = 5) -> list[float]:
    """Round values from 0 to ``highest``, about so many."""
    rough = highest / about
    power = 10.0 ** len(str(int(rough))) / 10 if rough >= 1 else 0.1
    step = next((power * t for t in (1, 2, 5, 10) if power * t >= rough), power * 10)
    return [step * i for i in range(int(highest / step) + 1)]


def _runs_of_points(power_w: Sequence[float | None], length_s: float) -> list[list[tuple[float, float]]]:
    """Points of the line, broken where readings are missing."""
    step = length_s / max(len(power_w), 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for index, power in enumerate(power_w):
        if power is None:
            pieces.append([])
        else:
            pieces[-1].append(((index + 0.5) * step, power))
    return [piece for piece in pieces if len(piece) > 1]
