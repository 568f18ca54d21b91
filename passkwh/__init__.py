"""pass@kWh: how many programming tasks a code model solves per kilowatt-hour.

The interface for notebooks and scripts; each name is imported when it is first used.

==================  ==============================================================================
:func:`run`         run a model through a benchmark under an energy meter
:class:`Spec`       what a run is asked for, all of it
:func:`load_runs`   run folders as data frames, statistics and a report
:func:`measure`     the energy of a block of your own code
:func:`register`    add an engine, quantization, benchmark, meter, ... for this process
==================  ==============================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from passkwh.api import load_runs, run
    from passkwh.harness.meter.block import measure
    from passkwh.records import Spec
    from passkwh.registry import register

    __version__: str

__all__ = ["Spec", "__version__", "load_runs", "measure", "register", "run"]

_PLACES = {
    "Spec": "passkwh.records",
    "load_runs": "passkwh.api",
    "measure": "passkwh.harness.meter.block",
    "register": "passkwh.registry",
    "run": "passkwh.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _PLACES:
        raise AttributeError(f"module 'passkwh' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("passkwh")
    except PackageNotFoundError:
        return "unknown"  # a source tree on the path that was never installed


def __dir__() -> list[str]:
    return __all__
