"""Noticing a program that reaches for its judge: an audit hook.

It runs in the program's own process, so a determined program can fight it; but what it sees is reported before the
program can do anything about it, and a report cannot be taken back.
"""

from __future__ import annotations

import _thread
import builtins
import json
import os
import sys
from collections.abc import Callable
from os.path import realpath
from types import CodeType, FrameType
from typing import Any

# The judged code may patch builtins; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))

with open(os.path.join(os.path.dirname(__file__), "watched.json")) as _file:
    _WATCHED = json.load(_file)
_FRAMES, _EVENTS = _WATCHED["frames"], _WATCHED["events"]
"""Attributes that lead to frames, and audit events with what they mean."""
_TRANSPARENT = tuple(_WATCHED["transparent"])
"""Modules that act on behalf of their caller."""
_TRACEBACK = "traceback.py"
_WRITABLE = ("/tmp/", "/dev/shm/", "/proc/", "/var/tmp/")
_CHANGES_CODE, _OPENS_MEMORY = "changes code of a function", "opens its own memory"
GENERATED = (
    "<frozen", "<__array_function__", "<decorator-gen", "<attrs generated", "<template>", "<lambdifygenerated",
)  # fmt: skip
"""What libraries call the files of code that they make."""
_SIGNATURES = (
    "_signature_from_function", "_signature_from_callable", "_signature_is_functionlike", "_has_code_flag", "unwrap",
    "isfunction",
)  # fmt: skip
"""Functions of ``inspect`` that read of a function only how it is called."""
_WHOEVER = (_CHANGES_CODE, _OPENS_MEMORY)
"""What no library does for an honest program."""

Send = Callable[[str, str], bool]


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
            caller = getframe(1)
            if caller.f_code.co_name in _SIGNATURES and caller.f_code.co_filename.endswith("inspect.py"):
                return
            frame = _responsible(caller)
            own = frame is not None and _is_own(frame.f_code, frame.f_lineno)
            reason = _EVENTS.get(event) or _reason(event, arguments)
            if not reason or not (own or (reason in _WHOEVER and not _imports(caller))):
                return
            if event not in ("object.__getattr__", "object.__setattr__") or not _is_own_function(arguments[0]):
                report(reason)
        finally:
            local.busy = False

    def _is_own_function(value: Any) -> bool:
        code = getattr(value, "__code__", None)
        return isinstance(code, CodeType) and _is_own(code, code.co_firstlineno)

    def _is_own(code: CodeType, line: int) -> bool:
        name = code.co_filename
        return (name == own_file and line <= code_lines) or (name.startswith("<") and not name.startswith(GENERATED))

    sys.addaudithook(hook)


def _imports(frame: FrameType | None) -> bool:
    """Whether this happens while a module is imported: libraries then change code of their own."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _responsible(frame: FrameType | None) -> FrameType | None:
    """The frame on whose behalf introspection modules act; that of ``traceback`` where it only formats one."""
    while frame is not None and frame.f_code.co_filename.endswith(_TRANSPARENT):
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.endswith(_TRACEBACK):  # generators hand out frames
        frame = frame.f_back
        captures = False
        while frame is not None and frame.f_code.co_filename.endswith(_TRACEBACK):
            captures |= bool(frame.f_locals.get("capture_locals"))
            caller = frame.f_back
            if caller is None or not (captures or caller.f_code.co_filename.endswith(_TRACEBACK)):
                break
            frame = caller
    return frame


def _reason(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event == "ctypes.dlopen":
        path = realpath(arguments[0]) if isinstance(arguments[0], str) and "/" in arguments[0] else ""
        return "loads a library that it could have written" if path.startswith(_WRITABLE) else None
    if event.startswith("ctypes."):
        return "uses ctypes"
    if event == "object.__getattr__":
        name = arguments[1]
        if name in _FRAMES:
            return "looks at the stack"
        return "reads code of functions" if name in ("__code__", "__kwdefaults__") else None
    if event == "object.__setattr__":
        if arguments[1] == "__code__":
            return _CHANGES_CODE
        return "changes defaults of a function" if arguments[1] in ("__defaults__", "__kwdefaults__") else None
    if event == "compile":
        name = str(arguments[1] or "<")
        ordinary = name.startswith("<") and not name.startswith(GENERATED)
        return None if ordinary else "compiles code under the name of a file"
    opened = realpath(arguments[0]) if isinstance(arguments[0], (str, bytes)) else ""
    text = opened.decode("utf-8", "replace") if isinstance(opened, bytes) else opened
    return _OPENS_MEMORY if text.startswith("/proc/") and text.endswith("/mem") else None
