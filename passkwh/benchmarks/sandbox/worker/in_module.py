"""Judging a program in its own process, as one module with its test: runs both, reports what happened."""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from . import bigcodebench_compat, strict, watch

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

MODULE = "__test__"
FILE = MODULE + ".py"
DETAIL_CHARS = 2000
Send = Callable[[str, str], bool]
Failures = list[tuple[str, str]]
Tests = Callable[[types.ModuleType], Failures]
"""What is left to do with the module after it was executed."""
PrepareTests = Callable[[dict[str, Any], Send, "strict.Look | None"], Tests]
"""Called with the job, ``send`` and the strict look or None, before any judged code runs."""


def judge(job: dict[str, Any], send: Send, prepare_tests: PrepareTests) -> None:
    """Run the job's code and test in one module and report a status.

    Reports ``status`` (pass or fail) with ``detail`` before it; the absence of a status means that the process ended
    or was killed before the end.
    """
    surroundings()
    look = strict.Look(job["code"], job["test"], FILE, send) if job["look"] == "strict" else None
    run_tests = prepare_tests(job, send, look)
    module = new_module()
    watch.install_hook(FILE, job["code"].count("\n") + 1, send)
    run = _official(job, module, run_tests) if look is None else _strict(look, module, run_tests)
    _forget_judge()
    failures = failures_of(run)
    report_status(send, failures)
    if look is not None and not failures:
        with bigcodebench_compat.swallowed_io():
            look.without_program(module, run_tests)


def surroundings() -> None:
    """What a program finds in place of the standard library's functions, as the official evaluator has it."""
    bigcodebench_compat.install_process_functions()
    bigcodebench_compat.disable_exits()
    bigcodebench_compat.close_figures()


def new_module() -> types.ModuleType:
    """The module that program and test are executed in."""
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
    return module


def failures_of(run: Callable[[], Failures]) -> Failures:
    """What failed; by the official evaluator's rule whatever is raised is a failure."""
    failures: Failures = [("ALL", "the test was not run to its end")]  # where a context manager was made to swallow it
    try:
        with bigcodebench_compat.swallowed_io():
            failures = run()
    except BaseException as error:
        failures = [("ALL", f"{type(error).__name__}: {_text(error)}")]
    return failures


def report_status(send: Send, failures: Failures) -> None:
    """The last two lines of a report."""
    if failures:
        name, message = failures[0]
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        send("detail", f"{name}{more}: {message}"[-DETAIL_CHARS:])
    send("status", "fail" if failures else "pass")


def _official(job: dict[str, Any], module: types.ModuleType, run_tests: Tests) -> Callable[[], Failures]:
    """The first look: code and test as one text, as the official evaluator executes it."""
    text, modules = job["code"] + "\n" + job["test"], sys.modules

    def run() -> Failures:
        exec(compile(text, FILE, "exec", dont_inherit=True), module.__dict__)
        modules[MODULE] = module
        return run_tests(module)

    return run


def _strict(look: strict.Look, module: types.ModuleType, run_tests: Tests) -> Callable[[], Failures]:
    """A second look at a pass whose test needs the program in its own process."""
    modules = sys.modules

    def run() -> Failures:
        look.remember()
        with look.watching():
            exec(look.program, module.__dict__)
        look.compare(module)
        with look.watching():
            exec(look.tests, module.__dict__)
        modules[MODULE] = module
        return run_tests(module)

    return run


def _forget_judge() -> None:
    """Take the evaluator's own modules out of the program's reach."""
    package = __name__.rpartition(".")[0]
    for name in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
        with contextlib.suppress(KeyError):
            del sys.modules[name]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:DETAIL_CHARS]
    except BaseException:
        return "(its message cannot be read)"
