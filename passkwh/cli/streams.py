"""Where a command speaks, and how it is asked to end: what a terminal, a pipe, a log or a service manager may do."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from passkwh.errors import UsageError


class _Result(io.FileIO):
    """Stdout. A disk that does not take the result is said once; a reader that has gone (``| head``) is no trouble."""

    def __init__(self) -> None:
        super().__init__(1, "w", closefd=False)
        self._failed = False

    def write(self, content: Any) -> int:
        """Write, or say why that is not possible."""
        try:
            return super().write(content)
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and not self._failed:
                self._failed = True  # what is still in the buffer is flushed again when the program ends
                raise UsageError(
                    f"the result cannot be written to stdout ({error.strerror}): lead it to a place that takes it"
                ) from error
            return len(content)


class _Notes(io.FileIO):
    """Stderr: progress and warnings, which never end a command."""

    def __init__(self) -> None:
        super().__init__(2, "w", closefd=False)

    def write(self, content: Any) -> int:
        """Write what can be written."""
        try:
            return super().write(content)
        except OSError:
            return len(content)


def prepare() -> None:
    """Make standard streams that exist, take any text and fail in a line or, as stderr, not at all.

    A stream that the caller has closed is opened on nothing: its number would go to the next file that is opened, and
    whatever a library prints would end up in there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is sys.__stdout__:  # and not what a test or a notebook has put there
        sys.stdout = _text(_Result(), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Notes(), sys.stderr)


def _text(raw: io.FileIO, before: io.TextIOWrapper | Any) -> io.TextIOWrapper:
    encoding = "utf-8" if before is None else before.encoding
    lines = raw.fileno() == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=lines)


def end_like_ctrl_c() -> None:
    """Let SIGTERM and a closed terminal end the program as Ctrl-C does; where SIGHUP is ignored (nohup) it stays so."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)


def leave(code: int) -> NoReturn:
    """End the program now, after what was registered for its end.

    A library's threads may still be computing (GPTQModel's, in the middle of a layer). Taking Python down would wait
    for some of them, and end the process with an abort when others come back to it.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
