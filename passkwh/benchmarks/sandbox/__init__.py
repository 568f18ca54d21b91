"""Runs generated code against tests: fast, because libraries are imported once, and kept away from the host."""

from passkwh.benchmarks.sandbox.controller import default_limits, default_workers, evaluate
from passkwh.benchmarks.sandbox.jobs import STANDARD_LIBRARY, Job, Limits, Outcome, Tier
from passkwh.benchmarks.sandbox.probe import missing_layers

VERSION = 1
"""Changes when the same program may get another verdict than before."""

__all__ = [
    "STANDARD_LIBRARY",
    "VERSION",
    "Job",
    "Limits",
    "Outcome",
    "Tier",
    "default_limits",
    "default_workers",
    "evaluate",
    "missing_layers",
]
