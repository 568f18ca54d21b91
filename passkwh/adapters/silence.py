"""Keeps libraries' banners, progress bars and advice off the terminal: stdout is for results."""

from __future__ import annotations

import io
import logging
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
def silence_libraries() -> Iterator[None]:
    """Within the block, what libraries print goes to the log, and their advice up to warnings is dropped; errors stay.

    It holds for the whole process: not for a moment at which other threads have something to say.
    """
    from transformers.utils import logging as transformers_logging

    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(_LogStream()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:], root.level = handlers, level  # tokenicer gives the root logger a handler when imported
        if bars:
            transformers_logging.enable_progress_bar()
