"""Judging one sample, in the process that was forked for it: runs code and test, reports what happened."""

from __future__ import annotations

import builtins
import contextlib
import os
import secrets
import sys
import types
import unittest
import unittest.case
import unittest.loader
import unittest.result
import unittest.suite
from collections.abc import Callable
from typing import Any

from . import bigcodebench_compat, strict, watch

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

MODULE = "__test__"
FILE = MODULE + ".py"
DETAIL_CHARS = 2000
_TOLD_AT_ONCE = 5
Send = Callable[[str, str], bool]
Failures = list[tuple[str, str]]


def judge(job: dict[str, Any], send: Send) -> None:
    """Run the job's code and test in one module and report a status.

    Reports ``status`` (pass or fail) with ``detail`` before it; the absence of a status means that the process ended
    or was killed before the end.
    """
    bigcodebench_compat.install_process_functions()
    bigcodebench_compat.disable_exits()
    bigcodebench_compat.close_figures()
    module = types.ModuleType(MODULE)
    module.__dict__.update(
        {
            "__builtins__": builtins,
            "__file__": FILE,
            "__package__": None,
            "__doc__": None,
            "sys": sys,
            "os": os,
            "environ": os.environ,
        }
    )
    run = _prepare(job, module, send)
    _forget_judge()
    try:
        with bigcodebench_compat.swallowed_io():
            failures = run()
    except BaseException as error:  # the official evaluator's rule: whatever is raised is a failure
        failures = [("ALL", f"{type(error).__name__}: {_text(error)}")]
    if failures:
        name, message = failures[0]
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        send("detail", f"{name}{more}: {message}"[-DETAIL_CHARS:])
    send("status", "fail" if failures else "pass")


def _prepare(job: dict[str, Any], module: types.ModuleType, send: Send) -> Callable[[], Failures]:
    """Everything that the verdict needs, bound before any judged code runs."""
    code, test, timeout_s = job["code"], job["test"], job["timeout_s"]
    code_lines = code.count("\n") + 1
    modules = sys.modules
    time_limit = bigcodebench_compat.time_limit
    cases_name, profile = "TestCases", None
    loader, result = unittest.loader.TestLoader(), _result_class(unittest.result.TestResult, send)()
    parts: list[Any] = [code + "\n" + test]
    untouched = _guard(send)
    if job["strict"]:
        copies = strict.private_unittest()
        suffix = "_" + secrets.token_hex(8)
        parts, base = strict.protected(code, test, FILE, suffix)
        module.__dict__[base] = copies["case"].TestCase
        cases_name += suffix if job["kind"] == "unittest" else ""
        loader, result = copies["loader"].TestLoader(), copies["result"].TestResult()
        profile = strict.watch_comparisons(FILE, code_lines, "ANY" in test, send)
    watch.install_hook(FILE, code_lines, send)
    setprofile = sys.setprofile

    def run() -> Failures:
        setprofile(profile)
        for part in parts:
            exec(_compiled(part), module.__dict__)
            untouched()
        setprofile(None)
        modules[MODULE] = module
        if job["kind"] != "unittest":
            return []
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

    return run


def _compiled(part: Any) -> Any:
    """Source as code, without this file's own ``__future__`` imports; code as it is."""
    return compile(part, FILE, "exec", dont_inherit=True) if isinstance(part, str) else part


def _guard(send: Send) -> Callable[[], None]:
    """A function that reports what of unittest and builtins has changed since now."""
    before, take, compare = watch.snapshot(), watch.snapshot, watch.changes

    def check() -> None:
        for name in compare(before, take())[:_TOLD_AT_ONCE]:
            send("suspect", f"{name} patched")

    return check


def _result_class(base: type[unittest.TestResult], send: Send) -> Any:
    """A test result that looks, after each test, whether unittest and the test class are as they were."""
    own: list[Any] = [None]
    take, compare = watch.snapshot, watch.changes
    cases_type: list[type | None] = [None]
    told: set[str] = set()

    def tell(changed: list[str]) -> None:
        for name in changed[:_TOLD_AT_ONCE]:
            if name not in told:
                told.add(name)
                send("suspect", f"{name} patched")

    class Result(base):  # type: ignore[valid-type,misc]
        def watch_from_now(self, cases: type) -> None:
            cases_type[0] = cases
            own[0] = take(cases)

        def stopTest(self, test: unittest.TestCase) -> None:
            super().stopTest(test)
            tell(compare(own[0], take(cases_type[0])))

    return Result


def _forget_judge() -> None:
    """Take the evaluator's own modules out of the program's reach."""
    package = __name__.rpartition(".")[0]
    for name in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
        with contextlib.suppress(KeyError):
            del sys.modules[name]


def _exception(trace: str) -> str:
    """The exception of a formatted traceback, without the stack."""
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line[:1] not in (" ", "T"):  # the first unindented line after the traceback
            return "\n".join(lines[index:])[:DETAIL_CHARS]
    return lines[-1] if lines else ""


def _text(error: BaseException) -> str:
    try:
        return str(error)[:DETAIL_CHARS]
    except BaseException:
        return "(its message cannot be read)"
