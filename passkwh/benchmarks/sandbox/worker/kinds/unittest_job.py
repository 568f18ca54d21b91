"""Code with a ``class TestCases``: passes when all of its tests ran without failure or error (BigCodeBench's rule)."""

from __future__ import annotations

import builtins
import types
import unittest.loader
import unittest.result
from typing import Any

from .. import apart, bigcodebench_compat, in_module, strict

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

GRACE_S = 1.0
CAPTURED: tuple[str, ...] = ()


def run(job: dict[str, Any], send: in_module.Send) -> None:
    """Execute the module, then its tests under the job's own deadline."""
    (apart if job["look"] == "apart" else in_module).judge(job, send, _tests)


def _tests(job: dict[str, Any], send: in_module.Send, look: strict.Look | None) -> in_module.Tests:
    """Everything that the tests need, bound before any judged code runs."""
    timeout_s, time_limit = job["timeout_s"], bigcodebench_compat.time_limit
    modules = look.unittest if look else {"loader": unittest.loader, "result": unittest.result}
    cases_name = look.cases_name if look else "TestCases"
    loader, result_class = modules["loader"].TestLoader(), modules["result"].TestResult

    def run_tests(module: types.ModuleType) -> in_module.Failures:
        suite = loader.loadTestsFromTestCase(getattr(module, cases_name))
        result = result_class()
        result.failfast = look is not None and look.again
        with time_limit(timeout_s):
            if look:
                with look.watching():
                    suite.run(result)
            else:
                suite.run(result)
        if look is None or not look.again:
            send("tests", str(result.testsRun))
            send("skipped", str(len(result.skipped) + len(result.expectedFailures)))
        return [(case.id().split(".")[-1], _exception(trace)) for case, trace in result.failures + result.errors]

    return run_tests


def _exception(trace: str) -> str:
    """The exception of a formatted traceback, without the stack."""
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line[:1] not in (" ", "T"):  # the first unindented line after the traceback
            return "\n".join(lines[index:])[: in_module.DETAIL_CHARS]
    return lines[-1] if lines else ""
