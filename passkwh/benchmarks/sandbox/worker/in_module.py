"""Judging a program in its own process, as one module with its test: runs both, reports what happened."""

from __future__ import annotations

import builtins
import contextlib
import os
import secrets
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import bigcodebench_compat, strict, watch

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

MODULE = "__test__"
FILE = MODULE + ".py"
DETAIL_CHARS = 2000
_CHANGES_AT_ONCE = 5
Send = Callable[[str, str], bool]
Failures = list[tuple[str, str]]
Tests = Callable[[types.ModuleType], Failures]
"""What is left to do with the module after it was executed."""


@dataclass(frozen=True)
class SecondLook:
    """What replaces unittest when a pass is looked at again."""

    unittest: dict[str, types.ModuleType]
    """Private copies of its modules, by name."""
    suffix: str
    """What ``TestCases`` is called besides; nobody can guess it."""
    profile: Callable[..., None]


PrepareTests = Callable[..., Tests]
"""Called with the job, ``send`` and the SecondLook or None, before any judged code runs."""


def judge(job: dict[str, Any], send: Send, prepare_tests: PrepareTests) -> None:
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
    run = _prepare(job, module, send, prepare_tests)
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


def _prepare(
    job: dict[str, Any], module: types.ModuleType, send: Send, prepare_tests: PrepareTests
) -> Callable[[], Failures]:
    """Everything that the verdict needs, bound before any judged code runs."""
    code, test = job["code"], job["test"]
    code_lines = code.count("\n") + 1
    modules = sys.modules
    parts: list[Any] = [code + "\n" + test]
    look = profile = None
    before, take, report = watch.snapshot(), watch.snapshot, report_changes(send)
    if job["strict"]:
        suffix = "_" + secrets.token_hex(8)
        copies = strict.private_unittest()
        parts, base = strict.protected(code, test, FILE, suffix)
        module.__dict__[base] = copies["case"].TestCase
        profile = strict.watch_comparisons(FILE, code_lines, "ANY" in test, send)
        look = SecondLook(copies, suffix, profile)
    run_tests = prepare_tests(job, send, look)
    watch.install_hook(FILE, code_lines, send)
    setprofile = sys.setprofile

    def run() -> Failures:
        setprofile(profile)
        for part in parts:
            exec(_compiled(part), module.__dict__)
            report(before, take())
        setprofile(None)
        modules[MODULE] = module
        return run_tests(module)

    return run


def _compiled(part: Any) -> Any:
    """Source as code, without this file's own ``__future__`` imports; code as it is."""
    return compile(part, FILE, "exec", dont_inherit=True) if isinstance(part, str) else part


def report_changes(send: Send) -> Callable[[watch.Snapshot, watch.Snapshot], None]:
    """A function that reports, once each, what of unittest and builtins differs between two snapshots."""
    compare = watch.changes
    reported: set[str] = set()

    def report(before: watch.Snapshot, after: watch.Snapshot) -> None:
        for name in compare(before, after)[:_CHANGES_AT_ONCE]:
            if name not in reported:
                reported.add(name)
                send("suspect", f"{name} patched")

    return report


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
