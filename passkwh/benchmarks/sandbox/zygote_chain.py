"""The environment's process as the controller sees it: start it, talk to its zygotes, end it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from passkwh.benchmarks.sandbox.jobs import STANDARD_LIBRARY, Limits, PreloadGroup
from passkwh.benchmarks.sandbox.worker.lines import Lines
from passkwh.errors import UsageError

_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from worker.main import main; del sys.path[0]; main(sys.argv[2])"
_HERE = Path(__file__).parent


class ZygoteChain:
    """One chain of zygotes, of which those in ``serving`` take jobs."""

    def __init__(
        self,
        python: Path,
        preload_groups: Sequence[PreloadGroup],
        serving: set[int],
        limits: Limits,
        control_groups: Sequence[Sequence[int]] = (),
    ) -> None:
        self.lines: dict[int, Lines] = {}
        theirs: dict[int, socket.socket] = {}
        for index in sorted(serving):
            ours, theirs[index] = socket.socketpair()
            self.lines[index] = Lines(ours)
        config = {
            "preload_groups": [
                {
                    "name": group.name,
                    "preload": list(group.preload),
                    "warm": group.warm,
                    "descriptor": theirs[index].fileno() if index in theirs else None,
                }
                for index, group in enumerate(preload_groups[: max(serving) + 1])
            ],
            "limits": asdict(limits),
            "isolation": {"visible": list(folders(python)), "groups": [list(group) for group in control_groups]},
        }
        try:
            self.process = subprocess.Popen(
                [str(python), "-I", "-B", "-c", _BOOT, str(_HERE), json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[
                    *(sock.fileno() for sock in theirs.values()),
                    *(one for group in control_groups for one in group),
                ],
                env=clean_environment(python),
                start_new_session=True,
                cwd="/",
            )
        finally:
            for sock in theirs.values():
                sock.close()

    def stop(self) -> None:
        """End the zygotes and whatever they run; returns when they are gone."""
        for lines in self.lines.values():
            lines.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@lru_cache
def folders(python: Path) -> tuple[str, ...]:
    """The folders that hold an interpreter, its standard library and its packages.

    Raises UsageError when it does not run.
    """
    code = "import json, sys; print(json.dumps([sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]))"
    try:
        answer = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{python} does not run as a Python interpreter: {error}") from error
    prefixes = [Path(prefix) for prefix in json.loads(answer.stdout)]
    paths = {str(path) for prefix in prefixes for path in (prefix, prefix.resolve())}
    return tuple(sorted(paths - {"/", "/usr"}))


def clean_environment(python: Path) -> dict[str, str]:
    """The only environment variables that judged code gets to see."""
    return {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp/home",
        "USER": "sample",
        "LOGNAME": "sample",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "MPLCONFIGDIR": str(python.parent.parent / "var" / "matplotlib"),
        "MPLBACKEND": "agg",
    }


@lru_cache
def missing_layers(python: Path | None = None) -> dict[str, str]:
    """Layers of the isolation that the kernel refuses here, with the reason; empty when programs can be judged safely.

    Starts and ends an evaluator, which takes about a third of a second. Raises UsageError when ``python`` (this
    interpreter when None) does not run.
    """
    if sys.platform != "linux":
        return {"all": f"the sandbox needs Linux, this is {sys.platform}"}
    chain = ZygoteChain(python or Path(sys.executable), [STANDARD_LIBRARY], {0}, Limits(memory_bytes=1 << 30))
    try:
        messages: list[dict[str, Any]] | None = []
        while messages == []:
            messages = chain.lines[0].receive()
        if not messages:
            return {"all": "the evaluator's process ended at once"}
        layers: dict[str, str] = messages[0]["layers"]
        return layers
    finally:
        chain.stop()
