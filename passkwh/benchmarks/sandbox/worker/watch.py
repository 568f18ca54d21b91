"""Noticing a program that reaches for its judge: an audit hook and snapshots of what the verdict depends on.

Both run in the program's own process, so a determined program can fight them; but what the hook sees is reported
before the program can do anything about it, and a report cannot be taken back.
"""

from __future__ import annotations

import _thread
import builtins
import json
import os
import signal
import sys
import unittest
import unittest.case
import unittest.loader
import unittest.result
import unittest.suite
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

with open(os.path.join(os.path.dirname(__file__), "watched.json")) as _file:
    _WATCHED = json.load(_file)
_BUILTINS, _SIGNALS = _WATCHED["builtins"], _WATCHED["signals"]
"""Names that a verdict depends on."""
_FRAMES, _EVENTS = _WATCHED["frames"], _WATCHED["events"]
"""Attributes that lead to frames, and audit events with what they mean."""
_TRANSPARENT = tuple(_WATCHED["transparent"])
"""Modules that act on behalf of their caller."""
_CLASSES = (
    unittest.case.TestCase,
    unittest.case._Outcome,  # type: ignore[attr-defined]
    unittest.case._AssertRaisesContext,
    unittest.result.TestResult,
    unittest.suite.BaseTestSuite,
    unittest.suite.TestSuite,
    unittest.loader.TestLoader,
)
_TRACEBACK = "traceback.py"

Snapshot = dict[str, tuple[Any, Any]]
Send = Callable[[str, str], bool]


def snapshot(extra: type | None = None) -> Snapshot:
    """What the verdict depends on: attribute by attribute, with the code of functions."""
    state: Snapshot = {}
    for owner in (*_CLASSES, *([extra] if extra is not None else [])):
        for name, value in vars(owner).items():
            if callable(value) or isinstance(value, (staticmethod, classmethod, property)):
                state[f"{owner.__name__}.{name}"] = (value, _code(value))
    for name in _BUILTINS:
        state[f"builtins.{name}"] = (vars(builtins).get(name), None)
    for name in _SIGNALS:
        state[f"signal.{name}"] = (vars(signal).get(name), None)
    state["TestLoader.testMethodPrefix"] = (unittest.loader.TestLoader.testMethodPrefix, None)
    return state


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Names of what differs, sorted."""
    missing = (None, None)
    return sorted(
        name
        for name in before.keys() | after.keys()
        if before.get(name, missing)[0] is not after.get(name, missing)[0]
        or before.get(name, missing)[1] is not after.get(name, missing)[1]
    )


def _code(value: Any) -> Any:
    try:
        return value.__code__
    except AttributeError:
        return None


def install_hook(own_file: str, code_lines: int, send: Send) -> None:
    """Report what the program's own lines (the first ``code_lines`` of ``own_file``) do to look at their judge."""
    getframe, reported, local = sys._getframe, set[str](), _thread._local()

    def report(reason: str) -> None:
        if reason not in reported:
            reported.add(reason)
            send("suspect", reason)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        watched = event in _EVENTS or event in ("object.__getattr__", "object.__setattr__", "open", "compile")
        if not (watched or event.startswith("ctypes.")) or getattr(local, "busy", False):
            return
        local.busy = True
        try:
            frame = _responsible(getframe(1))
            if frame is None or not _is_own(frame.f_code, frame.f_lineno):
                return
            reason = _EVENTS.get(event) or _reason(event, arguments)
            if reason and not (event == "object.__getattr__" and _is_own_function(arguments[0])):
                report(reason)
        finally:
            local.busy = False

    def _is_own_function(value: Any) -> bool:
        code = getattr(value, "__code__", None)
        return isinstance(code, CodeType) and _is_own(code, code.co_firstlineno)

    def _is_own(code: CodeType, line: int) -> bool:
        name = code.co_filename
        return (name == own_file and line <= code_lines) or (name.startswith("<") and not name.startswith("<frozen"))

    sys.addaudithook(hook)


def _responsible(frame: FrameType | None) -> FrameType | None:
    """The frame on whose behalf introspection modules act; None for a traceback that is only formatted."""
    while frame is not None and frame.f_code.co_filename.endswith(_TRANSPARENT):
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.endswith(_TRACEBACK):  # generators hand out frames
        frame = frame.f_back
    return frame


def _reason(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event.startswith("ctypes."):
        return "uses ctypes"
    if event == "object.__getattr__":
        name = arguments[1]
        return "looks at the stack" if name in _FRAMES else "reads code of functions" if name == "__code__" else None
    if event == "object.__setattr__":
        return f"changes {arguments[1]} of a function" if arguments[1] in ("__code__", "__defaults__") else None
    if event == "compile":
        name = arguments[1]
        return None if name is None or str(name).startswith("<") else "compiles code under the name of a file"
    path = str(arguments[0])
    return "opens its own memory" if path.startswith("/proc/") and path.endswith(("/mem", "/maps")) else None
