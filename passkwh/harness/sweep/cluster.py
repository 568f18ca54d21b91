"""The same study on a Ray cluster: Ray places runs by resources, nodes supervise them, the driver keeps the ledger.

A run whose meter sees the whole machine takes the one unit of the resource ``meter`` that its node was started with, so
Ray itself never puts two such runs on a node; the locks of ``alone`` hold even where several nodes share a machine. A
run begins anew on another node, never in the middle: half of its energy would be another machine's.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
import warnings
from collections import deque
from typing import Any

import ray

from passkwh.errors import UsageError
from passkwh.harness.sweep.collect import announce, download, stored, unpack
from passkwh.harness.sweep.drive import FINAL, Ledger, Tell, todo
from passkwh.harness.sweep.folder import FILE, Planned, StudyFolder
from passkwh.harness.sweep.machine_lock import shared_counters
from passkwh.harness.sweep.nodes import Board, NodeJob, carry_out, look
from passkwh.harness.sweep.preflight import Preflight
from passkwh.harness.sweep.status import finished
from passkwh.harness.sweep.study import Resources, Study
from passkwh.harness.sweep.supervise import Outcome, Signals
from passkwh.records import Spec, content_hash

METER = "meter"
"""The custom resource of which each node has one: `ray start --resources='{"meter": 1}'`."""
NODE_ID = "ray.io/node-id"
LOST_NODES = 3
"""How often a run may lose its node before it is given up."""
LOOK_S = 1.0
"""How often the driver looks what has come from the nodes."""


class Cluster:
    """A connection to a Ray cluster."""

    def __init__(self, address: str) -> None:
        """Raises UsageError when there is no cluster at ``address`` or no node of it can meter."""
        _check_reachable(address)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice about future versions of Ray
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            text = str(error).strip().splitlines()[0]
            raise UsageError(f"--ray {address}: no Ray cluster answers there ({text})") from error
        if not self._meters():
            ray.shutdown()
            raise UsageError(
                f"--ray {address}: no node of the cluster has the resource {METER!r}: start each node that may carry "
                f"out runs with ray start --resources='{{\"{METER}\": 1}}'"
            )

    def close(self) -> None:
        """Leave the cluster; whatever still runs there for us ends."""
        ray.shutdown()

    def preflight(self, specs: list[Spec]) -> dict[str, Preflight]:
        """What every node that can meter says of the specs, by node id."""
        task = ray.remote(look)
        asked = {
            node["NodeID"]: task.options(num_cpus=0, label_selector={NODE_ID: node["NodeID"]}).remote(
                specs, os.getcwd()
            )
            for node in self._meters()
        }
        found = {}
        for node, reference in asked.items():
            try:
                found[node] = ray.get(reference)
            except ray.exceptions.RayError:  # the node was lost while it looked
                continue
        if not found:
            raise UsageError("no node of the cluster could say what it can run: see Ray's logs")
        return found

    def slots(self) -> int:
        """Runs that the cluster can carry out at a time."""
        return max(1, len(self._meters()))

    def has_gpus(self) -> bool:
        """Whether any node has a GPU."""
        return float(ray.cluster_resources().get("GPU", 0)) > 0

    def _meters(self) -> list[dict[str, Any]]:
        return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(METER, 0) >= 1]


def _check_reachable(address: str) -> None:
    """Raises UsageError where nobody listens: Ray itself would end this process without a word to us."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return  # "auto", which Ray looks up itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise UsageError(f"--ray {address}: no Ray cluster answers there ({error.strerror or error})") from error


def requirements(spec: Spec, wanted: Resources, gpus: bool, needed_bytes: int | None) -> dict[str, Any]:
    """Ray's options for a run: what it needs, and the node's meter where it must be alone on it."""
    count = wanted.gpus if wanted.gpus is not None else int(gpus)
    options: dict[str, Any] = {"num_cpus": 1, "num_gpus": count, "max_retries": 0}
    if wanted.accelerator is not None:
        options["accelerator_type"] = wanted.accelerator
    if wanted.memory_gib is not None:
        options["memory"] = int(wanted.memory_gib * 2**30)
    elif not count and needed_bytes is not None:
        options["memory"] = needed_bytes
    only_its_gpus = count > 0 and spec.meter == "nvidia"  # Ray names them to the process
    if not only_its_gpus and shared_counters(spec.meter)[0][1]:
        options["resources"] = {METER: 1}
    return options


class Dispatch:
    """A study's runs on their way to nodes and back."""

    def __init__(self, cluster: Cluster, folder: StudyFolder, study: Study, storage: str | None, say: Tell) -> None:
        self._cluster = cluster
        self._folder = folder
        self._study = study
        self._storage = None if storage is None else f"{storage.rstrip('/')}/{study.settings.name}"
        self._ledger = Ledger(folder, study.settings.stop_after, say)
        self._identity = content_hash([run.asked.model_dump() for run in folder.record().runs])[:12]
        here = ray.get_runtime_context().get_node_id()
        self._board = ray.remote(Board).options(num_cpus=0, label_selector={NODE_ID: here}).remote()
        self._under_way: dict[Any, Planned] = {}
        self._live: dict[str, dict[str, Any]] = {}
        self._since_s: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._lost: dict[str, int] = {}

    def drive(self, found: dict[str, Preflight], signals: Signals) -> str | None:
        """Carry out what is left; why it ended early, or None."""
        self._folder.append("driver", pid=os.getpid())
        self._ledger.note_complete_runs()
        self._fetch_stored()
        able = self._able(found)
        queue = deque(todo(self._folder))
        asked = 0
        why = None
        while why is None and ((queue and not signals.asked) or self._under_way):
            while queue and not signals.asked and len(self._under_way) < self._cluster.slots():
                planned = queue.popleft()
                self._submit(planned, able[planned.run_id])
            done, _ = ray.wait(list(self._under_way), timeout=LOOK_S)
            self._read_board()
            for reference in done:
                planned = self._under_way.pop(reference)
                if self._take(reference, planned):
                    queue.append(planned)
                why = why or self._ledger.hopeless()
            if signals.asked > asked:
                asked = signals.asked
                if asked > 1:
                    break
                self._board.stop.remote()
        for planned in self._under_way.values():  # stopped at once: their nodes end them when the driver leaves
            self._ledger.ended(planned.run_id, Outcome("stopped", self._elapsed_s(planned.run_id)))
        return why or ("interrupted" if signals.asked else None)

    def _able(self, found: dict[str, Preflight]) -> dict[str, tuple[dict[str, Any], list[str]]]:
        """For every run its requirements, and the nodes that can hold it where not all can."""
        gpus = self._cluster.has_gpus()
        by_asked: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for number, configuration in enumerate(self._study.configurations):
            checks = {node: preflight.checks[number] for node, preflight in found.items()}
            nodes = [node for node, check in checks.items() if not check.problems]
            needed = max((checks[node].memory_needed_bytes or 0 for node in nodes), default=0) or None
            options = requirements(configuration.spec, self._study.settings.resources, gpus, needed)
            by_asked[configuration.spec.model_dump_json()] = (options, nodes if len(nodes) < len(found) else [])
        runs = self._folder.record().runs
        return {run.run_id: by_asked[run.asked.model_copy(update={"repeat": 0}).model_dump_json()] for run in runs}

    def _submit(self, planned: Planned, placed: tuple[dict[str, Any], list[str]]) -> None:
        options, nodes = placed
        if nodes:
            options = {**options, "label_selector": {NODE_ID: f"in({','.join(nodes)})"}}
        settings = self._study.settings
        job = NodeJob(
            run_id=planned.run_id,
            attempt=self._attempts.get(planned.run_id, 0) + 1,
            spec=planned.spec,
            study=self._identity,
            hang_s=settings.hang_s,
            cool_down_s=settings.cool_down_s,
            directory=os.getcwd(),
            storage=self._storage,
        )
        self._since_s[planned.run_id] = time.monotonic()
        self._attempts[planned.run_id] = job.attempt
        task = ray.remote(max_calls=1)(carry_out)  # a worker of its own, so that nothing of a run is left in the next
        self._under_way[task.options(**options).remote(job, self._board)] = planned

    def _take(self, reference: Any, planned: Planned) -> bool:
        """Note how an attempt ended and keep its folder; whether it is to be tried again."""
        run_id = planned.run_id
        where = self._live.pop(run_id, {})
        try:
            outcome, content = ray.get(reference)
            if outcome.event == "complete":
                outcome = self._keep(run_id, outcome, content)
        except ray.exceptions.RayTaskError as error:
            cause = " ".join(str(error.cause or error).split())[-500:]
            outcome = Outcome("failed", self._elapsed_s(run_id), "error", cause)
        except ray.exceptions.OutOfMemoryError:
            outcome = Outcome("failed", self._elapsed_s(run_id), "out of memory", "ended by Ray for want of memory")
        except ray.exceptions.RayError as error:
            reason = f"its node or Ray's process on it is gone ({type(error).__name__})"
            outcome = Outcome("failed", self._elapsed_s(run_id), "lost node", reason)
        self._ledger.ended(run_id, outcome, **{key: where[key] for key in ("host", "node") if key in where})
        if outcome.event != "failed" or outcome.kind in FINAL:
            return False
        if outcome.kind == "lost node":
            self._lost[run_id] = self._lost.get(run_id, 0) + 1
            return self._lost[run_id] <= LOST_NODES
        self._failures[run_id] = self._failures.get(run_id, 0) + 1
        return self._failures[run_id] <= self._study.settings.retries

    def _keep(self, run_id: str, outcome: Outcome, content: bytes | None) -> Outcome:
        path = self._folder.path / run_id
        try:
            if content is not None:
                unpack(content, path)
            else:
                download(f"{self._storage}/{run_id}", path)
            return Outcome("complete", outcome.elapsed_s, result=finished(path))
        except OSError as error:
            return Outcome(
                "failed", outcome.elapsed_s, "disk full" if error.errno == errno.ENOSPC else "error", str(error)
            )
        except UsageError as error:
            return Outcome("failed", outcome.elapsed_s, "damaged", str(error))

    def _fetch_stored(self) -> None:
        """Runs that are complete in storage, as after a driver that was killed before it had fetched them.

        Raises UsageError where the storage cannot be read and written.
        """
        if self._storage is None:
            return
        announce(self._folder.path / FILE, self._storage)
        for planned in todo(self._folder):
            url = f"{self._storage}/{planned.run_id}"
            if stored(url):
                download(url, self._folder.path / planned.run_id)
        self._ledger.note_complete_runs()

    def _read_board(self) -> None:
        current = {planned.run_id for planned in self._under_way.values()}
        for run_id, message in ray.get(self._board.take.remote()):
            if run_id not in current or message["attempt"] != self._attempts[run_id]:
                continue  # late, from an attempt that has ended
            if run_id not in self._live:
                self._ledger.started(run_id, message["pid"], host=message["host"], node=message["node"])
            self._live[run_id] = {"run": run_id, "since_ns": int(self._since_s[run_id] * 1e9), **message}
        self._folder.show_live(list(self._live.values()))

    def _elapsed_s(self, run_id: str) -> float:
        return time.monotonic() - self._since_s[run_id]
