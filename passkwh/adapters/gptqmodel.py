"""GPTQModel, the library that quantizes and runs GPTQ and AWQ: how it is imported and what it would print."""

from __future__ import annotations

import os
from typing import Any

from passkwh.errors import MissingExtra


def library() -> Any:
    """The imported ``gptqmodel``; MissingExtra when it is not installed. Call within ``noise.quiet()``."""
    # On a machine with few cores it refuses to load unless told how many workers it may have.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count() or 1))
    try:
        import gptqmodel
    except ImportError as error:
        if error.name and error.name.split(".")[0] not in ("gptqmodel", "logbar", "tokenicer", "device_smi"):
            raise
        raise MissingExtra("quantization with GPTQ or AWQ", "quant") from None
    return gptqmodel
