"""Judging one sample, in the process that was forked for it: runs code and test, reports what happened."""

from __future__ import annotations

import builtins
import os
import sys
import types
import unittest
from collections.abc import Callable
from typing import Any

from . import official

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

MODULE = "__test__"
DETAIL_CHARS = 2000
Send = Callable[[str, str], bool]


def judge(job: dict[str, Any], send: Send) -> None:
    """Run the job's code and test in one module and report a status.

    Reports ``status`` (pass or fail) with ``detail`` before it; the absence of a status means that the process ended
    or was killed before the end.
    """
    official.install_process_functions()
    official.disable_exits()
    official.close_figures()
    run = _unittest if job["kind"] == "unittest" else _script
    source = job["code"] + "\n" + job["test"]
    module = types.ModuleType(MODULE)
    module.__dict__.update(
        {
            "__builtins__": builtins,
            "__file__": MODULE + ".py",
            "__package__": None,
            "__doc__": None,
            "sys": sys,
            "os": os,
            "environ": os.environ,
        }
    )
    modules = sys.modules
    try:
        with official.swallowed_io():
            exec(compile(source, MODULE + ".py", "exec"), module.__dict__)
            modules[MODULE] = module
            failures = run(module, job["timeout_s"], send)
    except BaseException as error:  # the official evaluator's rule: whatever is raised is a failure
        failures = [("ALL", f"{type(error).__name__}: {_text(error)}")]
    if failures:
        name, message = failures[0]
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        send("detail", f"{name}{more}: {message}"[-DETAIL_CHARS:])
    send("status", "fail" if failures else "pass")


def _unittest(module: types.ModuleType, timeout_s: float, send: Send) -> list[tuple[str, str]]:
    cases: Any = module.TestCases
    suite = unittest.TestLoader().loadTestsFromTestCase(cases)
    result = unittest.TestResult()
    with official.time_limit(timeout_s):
        suite.run(result)
    send("tests", str(result.testsRun))
    send("skipped", str(len(result.skipped) + len(result.expectedFailures)))
    return [(case.id().split(".")[-1], _last_line(trace)) for case, trace in result.failures + result.errors]


def _script(_module: types.ModuleType, _timeout_s: float, _send: Send) -> list[tuple[str, str]]:
    return []


def _last_line(trace: str) -> str:
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line[:1] not in (" ", "T"):  # the first unindented line after the traceback is the exception
            return "\n".join(lines[index:])[:DETAIL_CHARS]
    return lines[-1] if lines else ""


def _text(error: BaseException) -> str:
    try:
        return str(error)[:DETAIL_CHARS]
    except BaseException:
        return "(its message cannot be read)"
