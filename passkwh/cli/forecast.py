"""``bench sweep --dry-run``: what a study would run, what that takes, and what it lacks on this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from passkwh.cli.output import duration, number, print_json, print_table, size, table

if TYPE_CHECKING:
    from passkwh.analysis.estimate.study import Forecast
    from passkwh.harness.sweep.preflight import Check, Preflight
    from passkwh.harness.sweep.study import Study


def dry_run(study: Study, found: Preflight, out: Path, gpu: str | None, as_json: bool) -> None:
    """What would run, in order: its time, energy, memory and disk, and what is missing on this host."""
    from passkwh.analysis.estimate.devices import find_device
    from passkwh.analysis.estimate.study import earlier_runs, forecast
    from passkwh.harness.sweep.order import ordered

    if gpu is not None:
        find_device(gpu)
    earlier = earlier_runs(out)
    entries: dict[str, tuple[Check, Forecast]] = {
        configuration.spec.model_dump_json(): (check, forecast(check, found.host, gpu, earlier))
        for configuration, check in zip(study.configurations, found.checks, strict=True)
    }
    shown: list[dict[str, Any]] = []
    for spec in ordered(study):
        check, cost = entries[spec.model_copy(update={"repeat": 0}).model_dump_json()]
        shown.append(
            {
                "run": check.run_id.rpartition("-r")[0] + f"-r{spec.repeat}",
                "model": spec.model,
                "quant": spec.quant,
                "exit": spec.exit,
                "benchmark": spec.benchmark,
                "batch_size": spec.batch_size,
                "repeat": spec.repeat,
                "samples": None if check.tasks is None else check.tasks * spec.samples,
                "time_s": cost.time_s,
                "energy_j": cost.energy_j,
                "disk_bytes": cost.disk_bytes,
                "basis": cost.basis,
                "memory_needed_bytes": check.memory_needed_bytes,
                "missing": list(check.missing),
                "problems": [problem.model_dump() for problem in check.problems],
            }
        )
    total = _total(study, found, shown, out)
    if as_json:
        print_json({"dry_run": True, "study": study.settings.name, **total, "runs": shown})
        return
    _show_dry_run(study, shown, total)


def _total(study: Study, found: Preflight, shown: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    import shutil

    times = [run["time_s"] for run in shown]
    joules = [run["energy_j"] for run in shown]
    disks = [run["disk_bytes"] for run in shown]
    place = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    rest_s = study.settings.cool_down_s * (len(shown) - 1)
    return {
        "time_s": None if None in times else sum(times) + rest_s,
        "energy_j": None if None in joules else sum(joules),
        "disk_bytes": None if None in disks else sum(disks),
        "disk_free_bytes": shutil.disk_usage(place).free,
        "memory_total_bytes": found.checks[0].memory_total_bytes,
        "channels": found.checks[0].channels,
        "missing": sorted({text for run in shown for text in run["missing"]}),
        "problems": sorted({f"{p['key']}: {p['text']}" for run in shown for p in run["problems"]}),
    }


def _show_dry_run(study: Study, shown: list[dict[str, Any]], total: dict[str, Any]) -> None:
    rows = [
        [
            run["run"],
            number(run["samples"], 6),
            duration(run["time_s"]),
            number(run["energy_j"], 3, "J"),
            size(run["memory_needed_bytes"]),
            "no" if run["problems"] else "not yet" if run["missing"] else "yes",
        ]
        for run in shown
    ]
    columns = ["run, in order", "samples", "time", "energy", "memory", "can run"]
    print_table(table(f"{study.settings.name}: would run", columns, rows, right=[1, 2, 3, 4]))
    known = total["time_s"] is not None or total["energy_j"] is not None
    print(
        f"{len(shown)} runs: time {duration(total['time_s'])}, energy {number(total['energy_j'], 3, 'J')}"
        f"{' (estimates)' if known else ''}, disk {size(total['disk_bytes'])} of {size(total['disk_free_bytes'])} "
        f"free, memory {size(total['memory_total_bytes'])} in all"
    )
    for basis in dict.fromkeys(run["basis"] for run in shown):
        print(f"time and energy: {basis}")
    for channel, provenance in total["channels"].items():
        print(f"metered by {channel} ({provenance})")
    for text in total["missing"]:
        print(f"to be got first: {text}")
    for text in total["problems"]:
        print(f"cannot run here: {text}")
