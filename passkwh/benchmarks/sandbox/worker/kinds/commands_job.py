"""A program of another language, compiled and run by commands, which says at its end that its tests came to theirs.

The files of the job stand in the private working folder. Each command but the last runs in a process of its own and
has to succeed; the last one replaces this process. Its standard input is a secret, which the judge among the job's
files reads before the program is loaded and prints when the tests have passed: an end without it is no pass, whatever
the exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from .. import report
from . import stdio_job

GRACE_S = 0.0
CAPTURED = ("stdout", "stderr")
ADDRESS_SPACE_BYTES = 64 << 30
"""What the virtual machines of Java and JavaScript reserve and do not use; what they hold is limited all the same."""
NOT_MADE, NOT_FOUND = 113, 127
"""Exit codes: a command before the last one failed; there is no such program."""


def run(job: dict[str, Any], send: Callable[[str, str], bool]) -> None:
    """Become the last command; returns only where that is refused: an error of the evaluator, not of the program."""
    try:
        for name, text in job["files"]:
            with open(name, "x", encoding="utf-8", errors="surrogatepass") as file:
                file.write(text)
        secret = stdio_job.in_memory(job["input"])
        *steps, (program, *arguments) = job["commands"]
    except BaseException as error:
        send("error", f"the program could not be started: {error!r}")
        return
    os.set_inheritable(secret, False)
    os.close(report.DESCRIPTOR)
    for command in steps:
        if _failed(command):
            os._exit(NOT_MADE)
    os.dup2(secret, 0)
    _become(program, arguments)


def _failed(command: list[str]) -> bool:
    """Run a command to its end."""
    child = os.fork()
    if child == 0:
        _become(command[0], command[1:])
    return os.waitpid(child, 0)[1] != 0


def _become(program: str, arguments: list[str]) -> None:
    try:
        os.execvp(program, [program, *arguments])
    except OSError as error:
        print(f"{program}: {error}", file=sys.stderr, flush=True)
    os._exit(NOT_FOUND)
