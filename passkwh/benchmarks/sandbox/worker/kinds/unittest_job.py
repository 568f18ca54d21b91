"""Code with a ``class TestCases``: passes when all of its tests ran without failure or error (BigCodeBench's rule)."""

from __future__ import annotations

import builtins
import sys
import types
import unittest
import unittest.loader
import unittest.result
from typing import Any

from .. import bigcodebench_compat, in_module, watch

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

GRACE_S = 1.0
CAPTURED: tuple[str, ...] = ()


def run(job: dict[str, Any], send: in_module.Send) -> None:
    """Execute the module, then its tests under the job's own deadline."""
    in_module.judge(job, send, _tests)


def _tests(job: dict[str, Any], send: in_module.Send, look: in_module.SecondLook | None) -> in_module.Tests:
    """Everything that the tests need, bound before any judged code runs."""
    timeout_s, time_limit, setprofile = job["timeout_s"], bigcodebench_compat.time_limit, sys.setprofile
    if look is None:
        cases_name, profile = "TestCases", None
        loader, result = unittest.loader.TestLoader(), _result_class(unittest.result.TestResult, send)()
    else:
        cases_name, profile = "TestCases" + look.suffix, look.profile
        loader, result = look.unittest["loader"].TestLoader(), look.unittest["result"].TestResult()

    def run_tests(module: types.ModuleType) -> in_module.Failures:
        cases = getattr(module, cases_name)
        if hasattr(result, "watch_from_now"):
            result.watch_from_now(cases)
        suite = loader.loadTestsFromTestCase(cases)
        with time_limit(timeout_s):
            setprofile(profile)
            try:
                suite.run(result)
            finally:
                setprofile(None)
        send("tests", str(result.testsRun))
        send("skipped", str(len(result.skipped) + len(result.expectedFailures)))
        return [(case.id().split(".")[-1], _exception(trace)) for case, trace in result.failures + result.errors]

    return run_tests


def _result_class(base: type[unittest.TestResult], send: in_module.Send) -> Any:
    """A test result that looks, after each test, whether unittest and the test class are as they were."""
    own: list[Any] = [None]
    take = watch.snapshot
    cases_type: list[type | None] = [None]
    report = in_module.report_changes(send)

    class Result(base):  # type: ignore[valid-type,misc]
        def watch_from_now(self, cases: type) -> None:
            cases_type[0] = cases
            own[0] = take(cases)

        def stopTest(self, test: unittest.TestCase) -> None:
            super().stopTest(test)
            report(own[0], take(cases_type[0]))

    return Result


def _exception(trace: str) -> str:
    """The exception of a formatted traceback, without the stack."""
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line[:1] not in (" ", "T"):  # the first unindented line after the traceback
            return "\n".join(lines[index:])[: in_module.DETAIL_CHARS]
    return lines[-1] if lines else ""
