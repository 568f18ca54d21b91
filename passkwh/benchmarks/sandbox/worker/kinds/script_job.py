"""Code and test as one module: it passes unless it raises."""

from __future__ import annotations

from typing import Any

from .. import apart, in_module

GRACE_S = 1.0
CAPTURED: tuple[str, ...] = ()


def run(job: dict[str, Any], send: in_module.Send) -> None:
    """Execute the module; nothing is left to do after it."""
    (apart if job["look"] == "apart" else in_module).judge(job, send, lambda *_: lambda _module: [])
