"""What of the isolation this machine offers, found by trying."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from passkwh.benchmarks.sandbox.jobs import STANDARD_LIBRARY, Limits
from passkwh.benchmarks.sandbox.zygote_chain import ZygoteChain


@lru_cache
def missing_layers(python: Path | None = None) -> dict[str, str]:
    """Layers of the isolation that the kernel refuses here, with the reason; empty when programs can be judged safely.

    Starts and ends an evaluator, which takes about a third of a second. Raises UsageError when ``python`` (this
    interpreter when None) does not run.
    """
    if sys.platform != "linux":
        return {"all": f"the sandbox needs Linux, this is {sys.platform}"}
    chain = ZygoteChain(python or Path(sys.executable), [STANDARD_LIBRARY], {0}, Limits(memory_bytes=1 << 30))
    try:
        messages: list[dict[str, Any]] | None = []
        while messages == []:
            messages = chain.lines[0].receive()
        if not messages:
            return {"all": "the evaluator's process ended at once"}
        layers: dict[str, str] = messages[0]["layers"]
        return layers
    finally:
        chain.stop()
