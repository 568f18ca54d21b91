"""Keeps libraries' banners, progress bars and advice off the terminal: stdout is for results."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_log = logging.getLogger("passkwh.adapters.libraries")


class _LogStream(io.TextIOBase):
    """A text stream whose lines become debug messages of this package's log."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                _log.debug("%s", line.rstrip())
        return len(text)


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, what libraries print goes to the log and advice is dropped; errors still raise.

    Python-level stdout is what the libraries here use. Not for threads that print for themselves meanwhile.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), redirect_stdout(_LogStream()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
