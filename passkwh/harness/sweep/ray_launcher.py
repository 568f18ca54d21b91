"""The same study on a Ray cluster: Ray places runs by resources, nodes supervise them, the driver keeps the ledger.

A run takes the one unit of the resource ``meter`` that its node was started with, unless only its own GPUs are metered,
so Ray itself never puts two such runs on a node; the machine's locks hold even where several nodes share a machine. A
run begins anew on another node, never in the middle: half of its energy would be another machine's.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
import warnings
from collections.abc import Iterable
from typing import Any

import ray

from passkwh.errors import UsageError
from passkwh.harness.meter.base import find_meter
from passkwh.harness.sweep.folder import FILE, FailureKind, PlannedRun
from passkwh.harness.sweep.launch import Ended
from passkwh.harness.sweep.ledger import Ledger, by_identity, todo
from passkwh.harness.sweep.preflight import Preflight
from passkwh.harness.sweep.ray_node import Board, NodeJob, plan_on_node, run_on_node
from passkwh.harness.sweep.ray_transfer import announce, download, stored, unpack
from passkwh.harness.sweep.status import complete_run
from passkwh.harness.sweep.study import Resources, Study
from passkwh.harness.sweep.supervise import AttemptOutcome, StopSignals
from passkwh.records import Spec, content_hash, spec_identity

METER = "meter"
"""The custom resource of which each node has one: `ray start --resources='{"meter": 1}'`."""
NODE_ID = "ray.io/node-id"
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
        """The plans of the specs on every node that can meter, by node id."""
        task = ray.remote(plan_on_node)
        answers = {
            node["NodeID"]: task.options(num_cpus=0, label_selector={NODE_ID: node["NodeID"]}).remote(
                specs, os.getcwd()
            )
            for node in self._meters()
        }
        plans = {}
        for node, reference in answers.items():
            try:
                plans[node] = ray.get(reference)
            except ray.exceptions.RayError:  # the node was lost while it looked
                continue
        if not plans:
            raise UsageError("no node of the cluster could say what it can run: see Ray's logs")
        return plans

    def slots(self) -> int:
        """Runs that the cluster can carry out at a time."""
        return max(1, len(self._meters()))

    def has_gpus(self) -> bool:
        """Whether any node has a GPU."""
        return float(ray.cluster_resources().get("GPU", 0)) > 0

    def _meters(self) -> list[dict[str, Any]]:
        return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(METER, 0) >= 1]


def unlike_hosts(preflights: Iterable[Preflight]) -> str | None:
    """What to say where a cluster's nodes are not alike."""
    kinds = {", ".join([p.host.cpu, *(gpu.name for gpu in p.host.gpus)]) for p in preflights}
    if len(kinds) < 2:
        return None
    return (
        f"nodes of {len(kinds)} kinds ({'; '.join(sorted(kinds))}): energies of different kinds are never compared or "
        "pooled; to have all runs on one kind, name it in the study file ([resources] accelerator)"
    )


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
    """Ray's options for a run: what it needs, and the node's meter unless it reads its own devices alone."""
    count = wanted.gpus if wanted.gpus is not None else int(gpus)
    options: dict[str, Any] = {"num_cpus": 1, "num_gpus": count, "max_retries": 0}
    if wanted.accelerator is not None:
        options["accelerator_type"] = wanted.accelerator
    if wanted.memory_gib is not None:
        options["memory"] = int(wanted.memory_gib * 2**30)
    elif not count and needed_bytes is not None:
        options["memory"] = needed_bytes
    meter, argument = find_meter(spec.meter)
    # A meter of single devices that names none takes those that Ray gives to the process.
    only_its_devices = meter.devices is not None and (count > 0 or bool(meter.devices(argument)))
    if not only_its_devices:
        options["resources"] = {METER: 1}
    return options


class RayLauncher:
    """A study's runs on their way to nodes and back: as many at a time as nodes can meter."""

    def __init__(
        self,
        cluster: Cluster,
        preflights: dict[str, Preflight],
        study: Study,
        storage: str | None,
        ledger: Ledger,
        signals: StopSignals,
    ) -> None:
        """``preflights`` is what ``cluster.preflight`` returned. Run folders come back through ``storage``, a URL, or
        else in Ray's own messages; raises UsageError where the storage cannot be read and written.
        """
        self._cluster = cluster
        self._storage = None if storage is None else f"{storage.rstrip('/')}/{study.settings.name}"
        self._ledger = ledger
        self._folder = ledger.folder
        self._signals = signals
        self._options = self._ray_options(study, preflights)
        self._identity = content_hash([run.requested.model_dump() for run in self._folder.record().runs])[:12]
        here = ray.get_runtime_context().get_node_id()
        self._board = ray.remote(Board).options(num_cpus=0, label_selector={NODE_ID: here}).remote()
        self._references: dict[Any, str] = {}
        self._attempts: dict[str, int] = {}
        self._live: dict[str, dict[str, Any]] = {}
        self._stop_sent = False
        self.under_way: dict[str, float] = {}
        self._fetch_stored()

    @property
    def slots(self) -> int:
        """Runs that the cluster can carry out at a time."""
        return self._cluster.slots()

    def start(self, planned: PlannedRun) -> None:
        """Hand an attempt to Ray, which places it on a node."""
        run_id = planned.run_id
        self._attempts[run_id] = self._attempts.get(run_id, 0) + 1
        job = NodeJob(
            run_id=run_id,
            attempt=self._attempts[run_id],
            spec=planned.spec,
            study=self._identity,
            hang_s=self._ledger.settings.hang_s,
            cool_down_s=self._ledger.settings.cool_down_s,
            directory=os.getcwd(),
            storage=self._storage,
        )
        task = ray.remote(max_calls=1)(run_on_node)  # a worker of its own: nothing of a run is left in the next
        options = self._options[spec_identity(planned.requested)]
        self._references[task.options(**options).remote(job, self._board)] = run_id
        self.under_way[run_id] = time.monotonic()

    def wait(self) -> list[Ended]:
        """Look once a second what has come from the nodes."""
        done, _ = ray.wait(list(self._references), timeout=LOOK_S)
        self._read_board()
        ended: list[Ended] = []
        for reference in done:
            run_id = self._references.pop(reference)
            outcome = self._outcome(reference, run_id)
            live = self._live.pop(run_id, {})
            del self.under_way[run_id]
            ended.append((run_id, outcome, {key: live[key] for key in ("host", "node") if key in live}))
        if self._signals.requests and not self._stop_sent:
            self._stop_sent = True
            self._board.stop.remote()
        return ended

    def _fetch_stored(self) -> None:
        """Fetch runs that are complete in storage, as after a driver that was killed before it had fetched them."""
        if self._storage is None:
            return
        announce(self._folder.path / FILE, self._storage)
        for planned in todo(self._folder):
            url = f"{self._storage}/{planned.run_id}"
            if stored(url):
                download(url, self._folder.path / planned.run_id)

    def _ray_options(self, study: Study, preflights: dict[str, Preflight]) -> dict[str, dict[str, Any]]:
        """Ray's options for each configuration, by its identity; the nodes that can hold it where not all can."""
        gpus = self._cluster.has_gpus()
        options = []
        for number, configuration in enumerate(study.configurations):
            plans = {node: preflight.plans[number] for node, preflight in preflights.items()}
            able = [node for node, plan in plans.items() if not plan.problems]
            needed = max((plans[node].memory_needed_bytes or 0 for node in able), default=0) or None
            placed = requirements(configuration.spec, study.settings.resources, gpus, needed)
            if len(able) < len(plans):
                placed["label_selector"] = {NODE_ID: f"in({','.join(able)})"}
            options.append(placed)
        return by_identity(study, options)

    def _outcome(self, reference: Any, run_id: str) -> AttemptOutcome:
        """How an attempt ended; the folder of a complete run is kept."""
        elapsed_s = time.monotonic() - self.under_way[run_id]
        try:
            outcome, content = ray.get(reference)
            return self._keep(run_id, outcome, content) if outcome.event == "complete" else outcome
        except ray.exceptions.RayTaskError as error:
            cause = " ".join(str(error.cause or error).split())[-500:]
            return AttemptOutcome("failed", elapsed_s, "error", cause)
        except ray.exceptions.OutOfMemoryError:
            return AttemptOutcome("failed", elapsed_s, "out of memory", "ended by Ray for want of memory")
        except ray.exceptions.RayError as error:
            reason = f"its node or Ray's process on it is gone ({type(error).__name__})"
            return AttemptOutcome("failed", elapsed_s, "lost node", reason)

    def _keep(self, run_id: str, outcome: AttemptOutcome, content: dict[str, bytes] | None) -> AttemptOutcome:
        path = self._folder.path / run_id
        try:
            if content is not None:
                unpack(content, path)
            else:
                download(f"{self._storage}/{run_id}", path)
            return AttemptOutcome("complete", outcome.elapsed_s, result=complete_run(path))
        except OSError as error:
            kind: FailureKind = "disk full" if error.errno == errno.ENOSPC else "error"
            return AttemptOutcome("failed", outcome.elapsed_s, kind, str(error))
        except UsageError as error:
            return AttemptOutcome("failed", outcome.elapsed_s, "damaged", str(error))

    def _read_board(self) -> None:
        for run_id, message in ray.get(self._board.take.remote()):
            if run_id not in self.under_way or message["attempt"] != self._attempts[run_id]:
                continue  # late, from an attempt that has ended
            if run_id not in self._live:
                self._ledger.started(run_id, message["pid"], host=message["host"], node=message["node"])
            self._live[run_id] = {"run": run_id, "since_ns": int(self.under_way[run_id] * 1e9), **message}
        self._folder.show_live(list(self._live.values()))
