"""RAPL: energy of CPU packages and their memory, from Linux's powercap files or, without root, from Zeus's daemon.

The files are read directly, because the recorder sees every wrap of a counter itself: Zeus's own RAPL class starts a
helper process per counter for that and needs a readable maximum. Domains nest (psys > package > core): packages and
memory are counted, the platform (psys) is recorded but not counted, parts of a package are not opened at all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from passkwh.errors import UsageError
from passkwh.harness.meter.background import Background
from passkwh.harness.meter.base import Channel, ChannelState, Meter, Reading, readable, reading, reason_of
from passkwh.harness.meter.unwrap import Unwrap
from passkwh.records import ChannelInfo

POWERCAP = Path("/sys/class/powercap")
CONTAINER_POWERCAP = Path("/zeus_sys/class/powercap")
"""Where a container may find the host's folder mounted, by Zeus's convention."""

ZEUSD_SOCKET = Path("/var/run/zeusd.sock")
DAEMON_INTERVAL_S = 0.05
MIRROR_LOOKS = 3
"""How often two counters are compared before they are taken for one."""

PERMISSION_ADVICE = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (until the next boot), or run zeusd"


class RaplDomain:
    """One powercap domain: a package, its memory, or the platform."""

    def __init__(self, folder: Path, name: str, title: str, contains: str | None = None) -> None:
        self._file = os.open(folder / "energy_uj", os.O_RDONLY)
        limit_j = _limit_j(folder)
        self._unwrap = Unwrap(limit_j)
        os.pread(self._file, 1, 0)  # permission may be checked only when reading
        notes = [] if contains is None else [f"not counted: it contains {contains}"]
        if limit_j is None:
            notes.append("the counter's range cannot be read: wraps are recognised by the ranges that exist")
        self.info = ChannelInfo(
            name=name,
            provenance="measured",
            source=f"RAPL {title}",
            quantity="energy_j",
            counted=contains is None,
            note="; ".join(notes) or None,
        )

    def read(self) -> list[Reading]:
        """The counter, made continuous across wraps."""
        return [reading("energy_j", lambda: self._unwrap(int(os.pread(self._file, 32, 0)) / 1e6, time.monotonic()))]

    def raw(self) -> int:
        """The counter as the file shows it, in microjoules."""
        return int(os.pread(self._file, 32, 0))

    def close(self) -> None:
        os.close(self._file)


class DaemonDomain:
    """A package or its memory as read by Zeus's daemon, which needs no root here."""

    def __init__(self, background: Background, index: int, name: str, title: str, owner: bool) -> None:
        self._background, self._index, self._owner = background, index, owner
        self._unwrap = Unwrap(None)
        self.info = ChannelInfo(
            name=name, provenance="measured", source=f"RAPL {title}, through zeusd", quantity="energy_j"
        )

    def read(self) -> list[Reading]:
        """The daemon's newest answer for this domain."""
        readings = self._background.latest()
        newest = readings[self._index] if len(readings) > self._index else readings[0]
        if newest.value is None:
            return [newest]
        return [Reading("energy_j", self._unwrap(newest.value, time.monotonic()))]

    def close(self) -> None:
        if self._owner:
            self._background.close()


def open_rapl(argument: str) -> list[Channel]:
    """The registry's ``rapl[:FOLDER]``: the powercap folder, where it is not the usual one."""
    channels, states = find_rapl(Path(argument) if argument else None)
    if not channels:
        why = "; ".join(f"{state.state}" + (f" ({state.advice})" if state.advice else "") for state in states)
        raise UsageError(f"no RAPL counter can be read: {why}")
    return channels


def find_rapl(root: Path | None = None) -> tuple[list[Channel], list[ChannelState]]:
    """Channels of packages, memory and platform, and the state of each; never raises for what the machine lacks."""
    if root is None:
        daemon = _find_daemon()
        if daemon is not None:
            return daemon
        root = CONTAINER_POWERCAP if CONTAINER_POWERCAP.is_dir() and not POWERCAP.is_dir() else POWERCAP
    zones = sorted(root.glob("intel-rapl:*"), key=lambda zone: [int(part) for part in zone.name.split(":")[1:]])
    if not zones:
        where = f"{root} " + ("has no RAPL domain" if root.is_dir() else "does not exist")
        return [], [
            ChannelState(
                "cpu:package",
                "measured",
                f"{where} (a virtual machine, a container, or a kernel without RAPL)",
                f"in a container: docker run -v {POWERCAP}:{POWERCAP}:ro ...; in a virtual machine: use the host",
            )
        ]
    channels: list[RaplDomain] = []
    states: list[ChannelState] = []
    for zone in zones:
        domain = _domain(root, zone)
        if domain is None:
            continue
        name, title, contains = domain
        try:
            channel = RaplDomain(zone, name, title, contains)
        except PermissionError:
            states.append(ChannelState(name, "measured", "only root may read it", PERMISSION_ADVICE))
            continue
        except OSError as error:
            states.append(ChannelState(name, "measured", reason_of(error)))
            continue
        channels.append(channel)
        states += readable([channel])
    _count_mirrors_once(channels)
    return list(channels), states


def _count_mirrors_once(channels: Sequence[RaplDomain]) -> None:
    """Of domains of one package that show one and the same counter, only the first is counted.

    Some processors of several dies list each die with the counter of the whole package. Two counters of their own never
    agree to the microjoule: a mirror's value lies between two readings of its original, each time that it is looked at.
    """
    originals: list[RaplDomain] = []
    for channel in channels:
        original = next(
            (other for other in originals if _same_package(other, channel) and _mirrors(other, channel)), None
        )
        if original is None:
            originals.append(channel)
            continue
        note = f"not counted: it shows the counter of {original.info.name}"
        channel.info = channel.info.model_copy(update={"counted": False, "note": note})


def _same_package(a: RaplDomain, b: RaplDomain) -> bool:
    """Domains of one kind (package, memory) of the same package, by names such as ``cpu:0-die-1``."""
    return a.info.counted and b.info.counted and a.info.name.partition("-die-")[0] == b.info.name.partition("-die-")[0]


def _mirrors(original: RaplDomain, other: RaplDomain) -> bool:
    try:
        looks = [(original.raw(), other.raw(), original.raw()) for _ in range(MIRROR_LOOKS)]
    except (OSError, ValueError):
        return False
    return all(before <= shown <= after for before, shown, after in looks)


def _domain(root: Path, zone: Path) -> tuple[str, str, str | None] | None:
    """Channel name, title and what is contained, of a domain that is worth reading."""
    indices = zone.name.split(":")[1:]
    title = _text(zone / "name") or zone.name
    if title.startswith("package-"):
        return f"cpu:{title.removeprefix('package-')}", title, None
    if title == "dram":
        parent = _text(root / f"intel-rapl:{indices[0]}" / "name") or indices[0]
        return f"dram:{parent.removeprefix('package-')}", f"dram of {parent}", None
    if title == "psys":
        return "psys", "platform (psys)", "the packages"
    return None


def _find_daemon() -> tuple[list[Channel], list[ChannelState]] | None:
    """Channels through zeusd where it runs, or None."""
    if not ({"ZEUSD_SOCK_PATH", "ZEUSD_HOST_PORT"} & set(os.environ) or ZEUSD_SOCKET.exists()):
        return None
    try:
        from zeus.utils.zeusd import ZeusdClient, ZeusdConfig

        client = ZeusdClient(ZeusdConfig.from_env() or ZeusdConfig.uds(str(ZEUSD_SOCKET)))
        if not client.can_read_cpu or not client.cpu_ids:
            return None
        packages = list(zip(client.cpu_ids, client.dram_available, strict=True))
        client.get_cpu_energy()
    except Exception:
        # The daemon is one way of several: the files may still be readable.
        return None

    def take() -> list[Reading]:
        energies = client.get_cpu_energy()
        readings = []
        for index, has_dram in packages:
            parts = [energies[index].cpu_energy_uj, energies[index].dram_energy_uj][: 2 if has_dram else 1]
            readings += [
                Reading("energy_j", None if part is None else part / 1e6, "zeusd gave no value") for part in parts
            ]
        return readings

    background = Background(take, "energy_j", DAEMON_INTERVAL_S)
    names = []
    for index, has_dram in packages:
        names.append((f"cpu:{index}", f"package-{index}"))
        if has_dram:
            names.append((f"dram:{index}", f"dram of package-{index}"))
    channels: list[Channel] = [
        DaemonDomain(background, place, name, title, owner=place == 0) for place, (name, title) in enumerate(names)
    ]
    return channels, readable(channels)


def _limit_j(folder: Path) -> float | None:
    text = _text(folder / "max_energy_range_uj")
    return int(text) / 1e6 if text is not None and text.isdigit() and int(text) > 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


METER = Meter("rapl[:FOLDER]", "only CPU packages and memory", open_rapl)
