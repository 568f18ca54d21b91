"""A function that is called with values and gives values back, which are compared outside.

The program's process has the inputs, and neither a test nor an expected value nor a report: the report's descriptor is
closed before a line of the program runs. So all that it can do about its verdict is to return other values. What it
returns is one line for each call, on a pipe that is its standard output no longer.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .. import bigcodebench_compat, in_module, report, values

GRACE_S = 0.0
CAPTURED = ("stdout",)


def run(job: dict[str, Any], send: in_module.Send) -> None:
    """Execute the module, then call its function with each input."""
    request = json.loads(job["input"])
    inputs = [values.load(text) for text in request["calls"]]
    code, name = job["code"], request["function"]
    job.clear()
    lines = os.dup(1)
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    os.close(report.DESCRIPTOR)
    in_module.surroundings()
    with bigcodebench_compat.swallowed_io():
        try:
            function = _function(code, name)
        except BaseException as error:
            _write(lines, {"unloaded": _words(error)})
            return
        for arguments in inputs:
            try:
                answer = {"value": values.dump(function(*arguments))}
            except BaseException as error:
                answer = {"error": _words(error)}
            _write(lines, answer)


def _function(code: str, name: str) -> Any:
    """What is to be called: a function of the module, or ``Class.method`` of one object of a class of it."""
    module = in_module.new_module()
    sys.modules[in_module.MODULE] = module
    exec(compile(code, in_module.FILE, "exec", dont_inherit=True), module.__dict__)
    owner, _, method = name.rpartition(".")
    return getattr(module.__dict__[owner](), method) if owner else module.__dict__[method]


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[: in_module.DETAIL_CHARS]
    except BaseException:
        return type(error).__name__


def _write(descriptor: int, answer: dict[str, str]) -> None:
    data = json.dumps(answer).encode("ascii") + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]
