"""A program that reads stdin and writes stdout, in an interpreter of its own.

The process is replaced (exec), so that nothing of the evaluator is left in it: no frame, object, environment variable
or descriptor, and no report that could be forged. What it knows is its own source and the input of one case. Its output
is compared by the controller, which alone knows what is expected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

GRACE_S = 0.0
CAPTURED = ("stdout", "stderr")


def run(job: dict[str, Any], send: Callable[[str, str], bool]) -> None:
    """Become the program; returns only where that is refused: an error of the evaluator, not of the program."""
    try:
        os.dup2(in_memory(job["input"]), 0)
        program = in_memory(job["code"])
        os.set_inheritable(program, True)
        # Isolated from the user's settings, without writing bytecode, text in UTF-8 whatever the locale.
        os.execv(sys.executable, [sys.executable, "-I", "-B", "-X", "utf8", f"/proc/self/fd/{program}"])
    except BaseException as error:
        send("error", f"the program could not be started: {error!r}")


def in_memory(text: str) -> int:
    """A descriptor of a file in the private /tmp that holds ``text`` and has no name, at its beginning."""
    descriptor = os.open("/tmp", os.O_RDWR | os.O_TMPFILE, 0o600)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(text.encode("utf-8", "surrogatepass"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
