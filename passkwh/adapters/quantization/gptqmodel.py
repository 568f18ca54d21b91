"""GPTQModel, the library that quantizes and runs GPTQ and AWQ: how it is imported and what it would print."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from passkwh.errors import MissingExtra


def library() -> Any:
    """The imported ``gptqmodel``; MissingExtra when it is not installed. Call within ``silence_libraries()``."""
    # On a machine with few cores it refuses to load unless told how many workers it may have.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count() or 1))
    try:
        import gptqmodel
    except ImportError as error:
        if error.name and error.name.split(".")[0] not in ("gptqmodel", "logbar", "tokenicer", "device_smi"):
            raise
        raise MissingExtra("quantization with GPTQ or AWQ", "quant") from None
    return gptqmodel


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for what the library writes while quantizing: it would leave logs in the working directory."""
    from gptqmodel.looper import loop_processor

    with tempfile.TemporaryDirectory(prefix="passkwh-") as folder:
        before = loop_processor._PROJECT_LOG_DIR
        loop_processor._PROJECT_LOG_DIR = Path(folder) / "logs"
        try:
            yield Path(folder)
        finally:
            loop_processor._PROJECT_LOG_DIR = before
