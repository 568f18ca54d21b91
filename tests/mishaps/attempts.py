"""One program, imported once, for many attempts at a run: each is a fork that may fail, jump or be killed.

    LD_PRELOAD=faults.so python -m tests.mishaps.attempts FOLDER [MODULE ...] < ATTEMPTS

An attempt is a JSON object on a line of stdin: ``arguments`` of ``bench``, and as wanted ``fault`` (call, part of a
path, number of the call from 1, errno; 0 kills the process there, -N sends it signal N), ``jump_at`` (when a file of
this name is there, so many seconds of the monotonic clock), ``stdout`` and ``stderr`` (a path, or ``closed``),
``environment`` (more variables). Answered by a line with the exit code, what was printed, and the files in FOLDER.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from passkwh.harness.plan import plan
from passkwh.records import Spec
from tests.mishaps import toy

FAULTS = ctypes.CDLL(None)
MODULES = (
    "passkwh.harness.runner", "passkwh.harness.sweep.machine_lock", "passkwh.cli.live", "pandas", "scipy.stats",
)  # fmt: skip


def attempt(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Carry one out and say how it ended."""
    out, err = folder / "out", folder / "err"
    pid = os.fork()
    if pid == 0:
        _child(asked, out, err)
    status = os.waitpid(pid, 0)[1]
    files = {str(file.relative_to(folder)): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        "code": os.waitstatus_to_exitcode(status), "out": _text(out), "err": _text(err), "files": files,
    }  # fmt: skip


def _child(asked: dict[str, Any], out: Path, err: Path) -> None:
    for number, place in ((1, asked.get("stdout", out)), (2, asked.get("stderr", err))):
        if place == "closed":
            os.close(number)
        else:
            os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which a terminal's nohup has set to be ignored
    if "fault" in asked:
        call, place, number, error = asked["fault"]
        FAULTS.fault_arm(call.encode(), place.encode(), number, error)
    if "jump_at" in asked:
        threading.Thread(target=_jump, args=(out.parent, *asked["jump_at"]), daemon=True).start()
    os.environ.update(asked.get("environment", {}))
    sys.argv = ["bench", *asked["arguments"]]
    code = 1
    try:
        toy.main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


def _jump(folder: Path, name: str, by_s: float) -> None:
    while not list(folder.glob(name)):
        time.sleep(0.005)
    FAULTS.fault_jump(ctypes.c_longlong(int(by_s * 1e9)))


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.exists() else ""


def main() -> None:
    """Carry out the attempts."""
    folder = Path(sys.argv[1])
    for name in (*MODULES, *sys.argv[2:]):
        importlib.import_module(name)  # what is imported here is not imported in every fork
    plan(Spec(model="toy:2", benchmark="toy-sums", meter="simulated"), folder)
    for line in sys.stdin:
        print(json.dumps(attempt(folder, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
