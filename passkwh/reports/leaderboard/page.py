"""A configuration's page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from passkwh.analysis.frames import Run
from passkwh.records import Manifest
from passkwh.reports.leaderboard.cells import figure, number
from passkwh.reports.leaderboard.cite import citation
from passkwh.reports.leaderboard.configurations import Configuration
from passkwh.reports.leaderboard.detail import DomainLine
from passkwh.reports.leaderboard.rows import MEASURES, thinking_mode

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
        picture=Markup(configuration.picture),
        channels=[channel.name for channel in manifest.meter.channels if channel.counted],
        stages=STAGES,
        domains=_domains(configuration.domains),
        facts=_facts(runs),
        command=command(manifest, len(runs)),
        citation=citation(row, runs, configuration.sums, common["title"], common["url"]),
        tasks=Markup(configuration.task_rows),
    )


def command(manifest: Manifest, repeats: int) -> str:
    """The command that makes this configuration's runs again, every argument quoted for the shell."""
    spec = manifest.spec
    named = {
        "model": spec.model, "revision": spec.revision, "prompt": spec.prompt, "lora": spec.lora,
        "quant": spec.quant if spec.quant != "none" else None, "exit": spec.exit,
        "thinking": spec.thinking if spec.thinking != "auto" else None, "system": spec.system,
        "benchmark": spec.benchmark, "limit": spec.limit, "task-ids": ",".join(spec.task_ids) or None,
        "samples": spec.samples if spec.samples > 1 else None,
        "engine": spec.engine if spec.engine != "auto" else None,
        "batch-size": spec.batch_size if spec.concurrency == 1 else None,
        "concurrency": spec.concurrency if spec.concurrency > 1 else None, "max-new-tokens": spec.max_new_tokens,
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
    for name, given in (("engine-option", spec.engine_options), ("quant-option", spec.quant_options)):
        for key, option in given.items():
            words += [f"--{name}", f"{key}={option}"]
    return shlex.join(words)


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    manifest, summary = runs[0].manifest, runs[0].summary
    model, spec, host = manifest.model, manifest.spec, manifest.host
    together = f"batch size {spec.batch_size}" if spec.concurrency == 1 else f"{spec.concurrency} requests in flight"
    decoding = "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}, top-p {spec.top_p:g}"
    exit_rule = spec.exit or "none: full depth"
    if model.early_exit.get("lossless"):
        exit_rule += " (lossless: the whole model checks every token)"
    facts = [
        ("model", f"{model.checkpoint}, {model.revision[:19]}, {model.adapter}, {model.dtype} on {model.device}"),
        ("weights", f"{model.parameters:,}" if model.parameters else "not known"),
        ("quantization", ", ".join(f"{k} {v}" for k, v in model.quantization.items()) or model.quant),
        ("exit rule", exit_rule),
        ("engine", model.engine),
        ("thinking", thinking_mode(manifest)),
        ("decoding", f"{decoding}, at most {spec.max_new_tokens} new tokens, {together}"),
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
        idle = [
            f"{number(one.mean_w)} W {when}" if one.mean_w is not None else f"missing {when} ({one.reason})"
            for one, when in ((before, "before"), (after, "after"))
        ]
        facts.append((f"idle, {total.channel}", ", ".join(idle)))
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
