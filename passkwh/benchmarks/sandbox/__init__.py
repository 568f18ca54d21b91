"""Judges generated code: fast, because libraries are imported once, and kept away from the host and its verdict."""

from passkwh.benchmarks.sandbox.controller import default_limits, default_workers, evaluate
from passkwh.benchmarks.sandbox.jobs import STANDARD_LIBRARY, Case, Job, Limits, Outcome, PreloadGroup, calls
from passkwh.benchmarks.sandbox.zygote_chain import missing_layers

VERSION = 2
"""Changes when the same program may get another verdict than before."""

__all__ = [
    "STANDARD_LIBRARY",
    "VERSION",
    "Case",
    "Job",
    "Limits",
    "Outcome",
    "PreloadGroup",
    "calls",
    "default_limits",
    "default_workers",
    "evaluate",
    "missing_layers",
]
