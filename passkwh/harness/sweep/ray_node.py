"""What happens on a node of a Ray cluster: one run, supervised there as on a single machine, and brought back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from passkwh.harness.sweep.preflight import Preflight, preflight
from passkwh.harness.sweep.ray_transfer import pack, upload
from passkwh.harness.sweep.supervise import Attempt, AttemptOutcome, Message, StopRequests
from passkwh.records import Spec


@dataclass(frozen=True)
class NodeJob:
    """One attempt, as the driver hands it to a node."""

    run_id: str
    attempt: int
    spec: Spec
    study: str
    """Which study it is of: an unfinished folder of another one is never gone on with."""
    hang_s: float
    cool_down_s: float
    directory: str
    """The driver's working folder, for relative paths of models and data; used where the node has it too."""
    storage: str | None
    """Where the complete run folder goes; back to the driver when None."""


class Board:
    """An actor: where nodes put how their runs go, and where they learn that the study is to stop."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, Message]] = []
        self._stop = asyncio.Event()

    async def post(self, run_id: str, message: Message) -> None:
        """A message of a run."""
        self._messages.append((run_id, message))

    async def take(self) -> list[tuple[str, Message]]:
        """All messages since the last call."""
        taken, self._messages = self._messages, []
        return taken

    async def stop(self) -> None:
        """Let every run end after its batch."""
        self._stop.set()

    async def stopped(self) -> None:
        """Returns when the study is to stop."""
        await self._stop.wait()


def run_on_node(job: NodeJob, board: Any) -> tuple[AttemptOutcome, dict[str, bytes] | None]:
    """Rest, then one attempt; its outcome, and the complete run folder unless it went to storage."""
    time.sleep(job.cool_down_s)
    prepare(job.directory)
    node = ray.get_runtime_context().get_node_id()
    out = Path(tempfile.gettempdir()) / f"passkwh-{os.getuid()}" / "sweep" / job.study / node
    out.mkdir(parents=True, exist_ok=True)
    stops = StopRequests()
    attempt = Attempt(job.spec, job.run_id, out, out / f"{job.run_id}.log", job.hang_s)
    threading.Thread(target=_wait_for_stop, args=(board, stops), daemon=True).start()
    where = {"host": platform.node(), "node": node, "pid": attempt.pid, "attempt": job.attempt}
    outcome = attempt.watch(lambda message: board.post.remote(job.run_id, {**message, **where}), stops)
    if outcome.event != "complete":
        return outcome, None
    path = out / job.run_id
    content = None
    if job.storage is None:
        content = pack(path)
    else:
        upload(path, f"{job.storage}/{job.run_id}")
    shutil.rmtree(path)
    return outcome, content


def plan_on_node(specs: list[Spec], directory: str) -> Preflight:
    """The plan of each configuration on this node."""
    prepare(directory)
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):  # Ray hides the GPUs from a task that asks for none, as this one
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    return preflight(specs)


def prepare(directory: str) -> None:
    """Make this worker's environment that of a run started by hand."""
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it to 1, which would slow every run on a CPU
    with contextlib.suppress(OSError):  # only root may; otherwise it is RAY_worker_niceness=0 at `ray start`
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError):
        os.chdir(directory)


def _wait_for_stop(board: Any, stops: StopRequests) -> None:
    with contextlib.suppress(ray.exceptions.RayError):  # the driver is gone, and this worker soon too
        ray.get(board.stopped.remote())
        stops.request()
