"""Names of meters: which channels ``--meter NAME`` opens. A new meter is one new file and one line here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from passkwh.errors import UsageError
from passkwh.harness.meter.base import Channel


@dataclass(frozen=True)
class MeterEntry:
    """One meter of the registry; its module is imported when it is asked for."""

    opener: str
    """``module:function``; the function takes what stands after the colon and returns the open channels."""
    usage: str
    summary: str

    def load(self) -> Callable[[str], Sequence[Channel]]:
        module, _, function = self.opener.partition(":")
        opener: Callable[[str], Sequence[Channel]] = getattr(import_module(module), function)
        return opener


METERS = {
    "auto": MeterEntry("passkwh.harness.meter.auto:open_auto", "auto", "everything that can be read here"),
    "estimate": MeterEntry(
        "passkwh.harness.meter.estimate:open_estimate", "estimate", "CPU seconds x watts per core, estimated"
    ),
    "http": MeterEntry(
        "passkwh.harness.meter.endpoint:open_http", "http://HOST/PATH#JSON.PATH[@UNIT]", "a smart plug, PDU or Redfish"
    ),
    "https": MeterEntry("passkwh.harness.meter.endpoint:open_https", "https://...", "the same, encrypted"),
    "nvidia": MeterEntry(
        "passkwh.harness.meter.nvidia:open_nvidia", "nvidia[:INDEX or UUID,...]", "only these NVIDIA GPUs"
    ),
    "rapl": MeterEntry("passkwh.harness.meter.rapl:open_rapl", "rapl[:FOLDER]", "only CPU packages and memory"),
    "replay": MeterEntry("passkwh.harness.meter.replay:open_replay", "replay:FILE.csv", "a recording played again"),
    "simulated": MeterEntry(
        "passkwh.harness.meter.simulated:open_simulated",
        "simulated[:PROFILE]",
        "invented readings, for tests and tries",
    ),
}


def open_meter(name: str) -> list[Channel]:
    """The open channels of a meter, ``NAME`` or ``NAME:ARGUMENT``; UsageError for one that does not exist here."""
    meter, _, argument = name.partition(":")
    if meter not in METERS:
        close = difflib.get_close_matches(meter, METERS, n=3)
        known = ", ".join(entry.usage for entry in METERS.values())
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"no meter {meter!r}: {hint}known: {known}")
    return list(METERS[meter].load()(argument))
