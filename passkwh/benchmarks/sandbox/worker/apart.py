"""A second look in two processes: the program in one, its test in the other, plain values between them.

The test runs in the process that has never executed a line of the program; what it calls by the program's names are
stand-ins that send the arguments over and get the result back as plain data (``plain``). The program's process has
neither the test nor the descriptor on which is reported, and the kernel keeps it out of the other's memory. So nothing
that a program patches, reads or returns can change what its test makes of the values.

Both processes share their files, working directory, environment and, where a test sets a seed, the state of the random
generators; arguments that a call changed are changed in the test's process too. A test that needs more than that, or
a value that has no plain form, cannot be judged this way: then ``apart`` is reported with the reason.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from . import bigcodebench_compat, in_module, plain, report, syscalls

# The program may patch modules in its process; this module's functions keep their own.
globals()["__builtins__"] = dict(vars(builtins))
_encode, _decode = json.JSONEncoder().encode, json.JSONDecoder().decode
_pack_length, _unpack_length = struct.Struct("<Q").pack, struct.Struct("<Q").unpack

_MAX_BYTES = 64 << 20
_BEYOND_PLAIN = (AttributeError, TypeError)
"""What a test raises that uses more of a value than its plain part."""


class NotSeparable(BaseException):
    """This program cannot be judged in two processes."""


def judge(job: dict[str, Any], send: in_module.Send, prepare_tests: in_module.PrepareTests) -> None:
    """Run the job's code in a process of its own and its test in this one, and report a status as ``in_module`` does.

    ``apart`` is reported with a reason where the two cannot be separated; the status then says nothing.
    """
    in_module.surroundings()
    ours, theirs = socket.socketpair()
    program = os.fork()
    if program == 0:
        code = job["code"]
        job.clear()
        ours.close()
        os.close(report.DESCRIPTOR)
        with contextlib.suppress(OSError, EOFError):
            _Program(code, _Peer(theirs)).serve()
        os._exit(0)
    theirs.close()
    with contextlib.suppress(OSError):
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # the program's process has this one's user: keep it out of /proc
    stand_ins = _StandIns(_Peer(ours), job["test"], job["uses"])
    run_tests = prepare_tests(job, send, None)

    def run() -> in_module.Failures:
        module = in_module.new_module()
        stand_ins.provide(module)
        exec(compile(job["test"], in_module.FILE, "exec", dont_inherit=True), module.__dict__)
        sys.modules[in_module.MODULE] = module
        return run_tests(module)

    failures = in_module.failures_of(run)
    beyond = failures and stand_ins.reduced and any(kind.__name__ in failures[0][1] for kind in _BEYOND_PLAIN)
    if reason := stand_ins.reason or ("its test uses more than the plain part of a value" if beyond else ""):
        send("apart", reason)
    in_module.report_status(send, failures)
    with contextlib.suppress(ProcessLookupError):
        os.kill(program, signal.SIGKILL)


class _Peer:
    """One end of the connection between the two processes: JSON with its length before it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._stream = sock.makefile("rb")

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. Raises NotPlain when it is too long."""
        data = _encode(message).encode("ascii")
        if len(data) > _MAX_BYTES:
            raise plain.NotPlain(f"{len(data) >> 20} MiB of values")
        self._socket.sendall(_pack_length(len(data)) + data)

    def receive(self) -> dict[str, Any]:
        """The next message. Raises EOFError when the other end is gone, ValueError for what is none."""
        head = self._stream.read(8)
        (length,) = _unpack_length(head) if len(head) == 8 else (_MAX_BYTES + 1,)
        data = self._stream.read(length) if length <= _MAX_BYTES else b""
        if len(data) != length:
            raise EOFError("the program's process ended")
        message = _decode(data.decode("ascii"))
        if not isinstance(message, dict):
            raise ValueError("not a message")
        return message


class _Program:
    """The program's side: executes it, then calls its functions as it is told."""

    def __init__(self, code: str, peer: _Peer) -> None:
        self._code = code
        self._peer = peer
        self._module = in_module.new_module()

    def serve(self) -> None:
        """Answer until the other side is gone."""
        while True:
            request = self._peer.receive()
            answer: dict[str, Any]
            with bigcodebench_compat.swallowed_io(), contextlib.redirect_stdout(io.StringIO()) as output:
                try:
                    answer = (
                        self._call(request) if "call" in request else self._load(request["names"], request["imports"])
                    )
                except plain.NotPlain as error:
                    answer = {"opaque": str(error)}
                except BaseException as error:
                    answer = _packed_error(error)
            try:
                self._peer.send({**answer, "output": output.getvalue(), "state": _state(request["state"])})
            except plain.NotPlain as error:
                self._peer.send({"opaque": str(error), "output": "", "state": {}})

    def _load(self, names: list[str], imports: str) -> dict[str, Any]:
        exec(compile(self._code, in_module.FILE, "exec", dont_inherit=True), self._module.__dict__)
        with contextlib.suppress(ImportError):  # in one module the program finds what its test imports
            exec(compile(imports, in_module.FILE, "exec", dont_inherit=True), self._module.__dict__)
        sys.modules[in_module.MODULE] = self._module
        space = self._module.__dict__
        return {"names": {name: _name_form(name, space[name]) for name in names if name in space}}

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        _set_state(request["state"])
        positional = plain.unpack(request["args"])
        named = plain.unpack(request["named"])
        given = [*positional, *named.values()]
        packer = plain.Packer()
        answer: dict[str, Any]
        try:
            value = self._module.__dict__[request["call"]](*positional, **named)
            same = next((i for i, one in enumerate(given) if one is value and not isinstance(one, (int, str))), None)
            answer = {"argument": same} if same is not None else {"value": packer.pack(value)}
        except plain.NotPlain:
            raise
        except BaseException as error:
            answer = _packed_error(error)
        after = [packer.pack(positional), packer.pack(named)]
        if after != [request["args"], request["named"]]:
            answer["after"] = after
        return {**answer, "reduced": packer.reduced}


def _packed_error(error: BaseException) -> dict[str, Any]:
    try:
        return {"error": plain.pack_error(plain.Packer(), error)}
    except BaseException as cause:
        return {"opaque": str(cause)}


def _name_form(name: str, value: Any) -> list[Any]:
    """What a name of the program stands for: a function to be called there, something of a library, a value."""
    if issubclass(type(value), types.FunctionType) and value.__module__ == in_module.MODULE:
        return ["function"]
    try:
        form = plain.Packer().pack(value)
    except plain.NotPlain as error:
        return ["function"] if callable(value) and not issubclass(type(value), type) else ["opaque", str(error)]
    return ["value", form]


class _StandIns:
    """The test's side: what the test finds under the program's names."""

    def __init__(self, peer: _Peer, test: str, uses: dict[str, Any]) -> None:
        self._peer = peer
        free = [name for name in uses["free"] if name not in vars(in_module.new_module())]
        self._names = [name for name in free if not hasattr(builtins, name)]
        self._builtin_names = [name for name in free if hasattr(builtins, name)]
        self._imports = uses["imports"]
        self._bound = {f"'{name}'" for name in uses["defined"]}
        self._lock = threading.RLock()
        self._kinds = [kind for kind, word in _STATES.items() if word in test]
        self.reason = ""
        """Why program and test cannot be separated; empty where they can."""
        self.reduced = False
        """Whether a result was of a class of the program's own, and is now of the built-in type below it."""

    def provide(self, module: types.ModuleType) -> None:
        """Let the program be executed, and put stand-ins for the names that the test uses into ``module``."""
        answer = self._ask({"names": self._names + self._builtin_names, "imports": self._imports})
        names: dict[str, list[Any]] = answer["names"]
        own = [name for name in self._names if names.get(name, [""])[0] == "function"]
        for name in self._names if own else self._names + self._builtin_names:  # a builtin stays one, as a rule
            kind, *rest = names.get(name, ["absent"])
            if kind == "function":
                module.__dict__[name] = self._stand_in(name)
            elif kind == "value" and _may_be_called(name, rest[0]):
                module.__dict__[name] = plain.unpack(rest[0])
            elif kind != "absent":
                self._give_up(f"its test uses {name}, {rest[-1]}")

    def _stand_in(self, name: str) -> Callable[..., Any]:
        def function(*args: Any, **named: Any) -> Any:
            with self._lock:
                return self._called(name, args, named)

        function.__name__ = function.__qualname__ = name
        return function

    def _called(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        packer = plain.Packer()
        try:
            request = {"call": name, "args": packer.pack(list(args)), "named": packer.pack(named)}
        except plain.NotPlain as error:
            self._give_up(f"its test passes {error}")
        answer = self._ask(request)
        given = [*args, *named.values()]
        with self._plain_only():
            self.reduced |= bool(answer.get("reduced"))
            if "after" in answer:
                positional, by_name = (plain.unpack(form) for form in answer["after"])
                for old, new in zip(given, [*positional, *(by_name[key] for key in named)], strict=True):
                    plain.refilled(old, new)
            return given[answer["argument"]] if "argument" in answer else plain.unpack(answer["value"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._plain_only():
            self._peer.send({**request, "state": _state(self._kinds)})
            answer = self._peer.receive()
            if "opaque" in answer:
                raise plain.NotPlain(f"it gives {answer['opaque']}")
            _set_state(answer["state"])
            sys.stdout.write(answer["output"])
            error = plain.unpack_error(answer["error"]) if "error" in answer else None
            if isinstance(error, NameError) and any(name in str(error) for name in self._bound):
                raise plain.NotPlain("something that its test defines")
        if error is not None:
            raise error
        return answer

    @contextlib.contextmanager
    def _plain_only(self) -> Any:
        """Whatever cannot be read as an answer ends this look; a deadline passes through."""
        try:
            yield
        except (NotSeparable, bigcodebench_compat.TimeoutException):
            raise
        except Exception as error:
            expected = isinstance(error, (plain.NotPlain, EOFError))
            self._give_up(str(error) if expected else f"{type(error).__name__}: {error}")

    def _give_up(self, reason: str) -> Any:
        self.reason = self.reason or reason
        raise NotSeparable(self.reason)


def _may_be_called(name: str, form: Any) -> bool:
    """Whether ``name`` may stand for this value: a library's function only under its own name."""
    is_reference = isinstance(form, list) and form[:1] == ["reference"]
    return not is_reference or not form[2] or form[2].rpartition(".")[2] == name


# ---------------------------------------------------------------- what both processes have in common

_STATES = {"environment": "environ", "random": "seed(", "folder": ""}
"""What is kept equal in both processes, and what stands in a test that uses it."""


def _state(kinds: Any) -> dict[str, Any]:
    packer = plain.Packer()
    state: dict[str, Any] = {}
    if "environment" in kinds:
        state["environment"] = dict(os.environ)
    if "folder" in kinds:
        state["folder"] = os.getcwd()
    if "random" in kinds:
        numpy = sys.modules.get("numpy")
        state["random"] = packer.pack([random.getstate(), numpy.random.get_state() if numpy is not None else None])
    return state


def _set_state(state: dict[str, Any]) -> None:
    if "environment" in state and state["environment"] != dict(os.environ):
        os.environ.clear()
        os.environ.update(state["environment"])
    if "folder" in state:
        os.chdir(state["folder"])
    if "random" in state:
        own, other = plain.unpack(state["random"])
        random.setstate(own)
        if other is not None and "numpy" in sys.modules:
            sys.modules["numpy"].random.set_state(other)
