"""Watts per core of this machine's CPU, for the estimate: CodeCarbon's table of TDPs, or its stated default.

Only CodeCarbon's data is used; its tracker is never started and the package is not even imported.
"""

from __future__ import annotations

import csv
import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

DEFAULT_WATTS_PER_THREAD = 4.0
"""CodeCarbon's documented value for a CPU that its table does not know (``DEFAULT_POWER_PER_CORE``, 3.x)."""


@dataclass(frozen=True)
class CorePower:
    """Power of one busy logical core, and where the number comes from."""

    watts_per_core: float
    cores: int
    model: str
    source: str


@cache
def core_power() -> CorePower:
    """Watts per logical core of this machine: TDP of the packages over the cores, or the default of 4 W."""
    cpuinfo = _cpuinfo()
    model = _field(cpuinfo, "model name") or platform.processor() or platform.machine() or "unknown CPU"
    cores = os.cpu_count() or 1
    packages = len(set(re.findall(r"^physical id\s*:\s*(\d+)", cpuinfo, re.MULTILINE))) or 1
    default = f"CodeCarbon's default of {DEFAULT_WATTS_PER_THREAD:g} W per thread"
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE):
        # A guest sees some cores of a package of unknown size: dividing its TDP by them would mean nothing.
        return CorePower(DEFAULT_WATTS_PER_THREAD, cores, model, f"{default}, as in a virtual machine")
    tdp_w = table_tdp_w(model)
    if tdp_w is None:
        return CorePower(DEFAULT_WATTS_PER_THREAD, cores, model, f"{default}, its table does not have this model")
    return CorePower(tdp_w * packages / cores, cores, model, f"TDP {tdp_w:g} W x {packages} from CodeCarbon's table")


def table_tdp_w(model: str) -> float | None:
    """TDP in watts of a CPU model name in CodeCarbon's table, or None where no entry or more than one fits.

    An entry fits when its words are all in the name and one of them has a digit; the entry with most words wins.
    """
    words = _words(model)
    best: list[tuple[int, float]] = []
    for name, tdp_w in _table():
        entry = _words(name)
        if entry <= words and any(any(char.isdigit() for char in word) for word in entry):
            best.append((len(entry), tdp_w))
    longest = max((length for length, _ in best), default=0)
    powers_w = {tdp_w for length, tdp_w in best if length == longest}
    return powers_w.pop() if len(powers_w) == 1 else None


def _words(name: str) -> frozenset[str]:
    plain = re.sub(r"\((?:R|TM|C)\)|@.*$", " ", name, flags=re.IGNORECASE)
    words = re.split(r"[\s,]+", plain.lower())
    return frozenset(word for word in words if word and word not in {"cpu", "processor", "apu", "with"})


@cache
def _table() -> list[tuple[str, float]]:
    spec = find_spec("codecarbon")
    if spec is None or spec.origin is None:
        return []
    path = Path(spec.origin).parent / "data" / "hardware" / "cpu_power.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["Name"], row["TDP"]) for row in csv.DictReader(file)]
    # A few entries are not numbers ("27.29.5"): they know nothing.
    return [(name, float(tdp)) for name, tdp in rows if re.fullmatch(r"\d+(\.\d+)?", tdp)]


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(cpuinfo: str, name: str) -> str | None:
    match = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match.group(1).strip() if match else None
