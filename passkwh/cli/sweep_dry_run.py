"""``bench sweep run --dry-run``: what a study would run, what that takes, and what it lacks on this host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from passkwh.cli.output import duration, number, print_json, print_table, say, size, table

if TYPE_CHECKING:
    from passkwh.harness.sweep.preflight import Preflight
    from passkwh.harness.sweep.study import Study


def dry_run(study: Study, preflight: Preflight, out: Path, gpu: str | None, as_json: bool) -> None:
    """What would run, in order: its time, energy, memory and disk, and what is missing on this host."""
    from passkwh.analysis.estimate.devices import find_device
    from passkwh.analysis.estimate.study import earlier_runs, forecast
    from passkwh.harness.sweep.ledger import by_identity, repeat_of
    from passkwh.harness.sweep.order import ordered
    from passkwh.harness.sweep.status import SHOWN_OF_SPEC
    from passkwh.records import spec_identity

    if gpu is not None:
        find_device(gpu)
    earlier = earlier_runs(out)
    entries = by_identity(study, [(plan, forecast(plan, preflight.host, gpu, earlier)) for plan in preflight.plans])
    runs: list[dict[str, Any]] = []
    for spec in ordered(study):
        plan, cost = entries[spec_identity(spec)]
        runs.append(
            {
                "run": repeat_of(plan, spec.repeat)[0],
                **spec.model_dump(include=SHOWN_OF_SPEC),
                "samples": None if plan.tasks is None else plan.tasks * spec.samples,
                **cost.model_dump(include={"time_s", "energy_j", "disk_bytes", "basis"}),
                "memory_needed_bytes": plan.memory_needed_bytes,
                "memory_reckoned": plan.memory_reckoned,
                "missing": list(plan.missing),
                "problems": [{"key": problem.field, "text": problem.text} for problem in plan.problems],
            }
        )
    total = _total(study, preflight, runs, out)
    if as_json:
        print_json({"dry_run": True, "study": study.settings.name, **total, "runs": runs})
        return
    _show(study, runs, total)


def _total(study: Study, preflight: Preflight, runs: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    def sum_of(name: str) -> Any:
        values = [run[name] for run in runs]
        return None if None in values else sum(values)

    place = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    time_s = sum_of("time_s")
    return {
        "time_s": None if time_s is None else time_s + study.settings.cool_down_s * (len(runs) - 1),
        "energy_j": sum_of("energy_j"),
        "disk_bytes": sum_of("disk_bytes"),
        "disk_free_bytes": shutil.disk_usage(place).free,
        "memory_total_bytes": preflight.plans[0].memory_total_bytes,
        "channels": preflight.plans[0].channels,
        "missing": sorted({text for run in runs for text in run["missing"]}),
        "problems": sorted({f"{p['key']}: {p['text']}" for run in runs for p in run["problems"]}),
    }


def _show(study: Study, runs: list[dict[str, Any]], total: dict[str, Any]) -> None:
    rows = [
        [
            run["run"],
            number(run["samples"], 6),
            duration(run["time_s"]),
            number(run["energy_j"], 3, "J"),
            f"{'≈ ' if run['memory_reckoned'] else ''}{size(run['memory_needed_bytes'])}",
            "no" if run["problems"] else "not yet" if run["missing"] else "yes",
        ]
        for run in runs
    ]
    columns = ["run, in order", "samples", "time", "energy", "memory", "can run"]
    print_table(table(f"{study.settings.name}: would run", columns, rows, right=[1, 2, 3, 4]))
    known = total["time_s"] is not None or total["energy_j"] is not None
    say(
        f"{len(runs)} runs: time {duration(total['time_s'])}, energy {number(total['energy_j'], 3, 'J')}"
        f"{' (estimates)' if known else ''}, disk {size(total['disk_bytes'])} of {size(total['disk_free_bytes'])} "
        f"free, memory {size(total['memory_total_bytes'])} in all"
    )
    lines = [f"time and energy: {basis}" for basis in dict.fromkeys(run["basis"] for run in runs)]
    if any(run["memory_reckoned"] for run in runs):
        lines.append(
            "memory with ≈ is reckoned: the weights of a registered model at its quantization's bits, without KV cache"
        )
    lines += [f"metered by {channel} ({provenance})" for channel, provenance in total["channels"].items()]
    lines += [f"to be got first: {text}" for text in total["missing"]]
    lines += [f"cannot run here: {text}" for text in total["problems"]]
    say("\n".join(lines))
