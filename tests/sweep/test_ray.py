"""Studies on Ray: three node processes on this machine, one of which is killed, and a driver that is killed too."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import psutil
import pytest
from fsspec.implementations.local import LocalFileSystem

from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.sweep import ray_transfer
from passkwh.harness.sweep.folder import Event, StudyFolder, is_study
from passkwh.harness.sweep.ray_launcher import METER, Cluster, requirements
from passkwh.harness.sweep.status import study_status
from passkwh.harness.sweep.study import Resources
from passkwh.records import Spec
from tests.analysis.conftest import write_run
from tests.sweep import kills
from tests.sweep.conftest import StudyFile

SPEC = Spec(model="m")


@pytest.mark.parametrize("how", ["message", "file", "memory"])
def test_a_run_folder_arrives_as_it_was(tmp_path: Path, how: str) -> None:
    made, arrived = write_run(tmp_path / "made"), tmp_path / "arrived"
    if how == "message":
        ray_transfer.unpack(ray_transfer.pack(made), arrived)
    else:
        url = f"memory://{tmp_path.name}/study/run" if how == "memory" else str(tmp_path / "storage" / "run")
        assert not ray_transfer.stored(url)
        ray_transfer.upload(made, url)
        assert ray_transfer.stored(url)
        ray_transfer.download(url, arrived)
    assert {p.name: p.read_bytes() for p in arrived.iterdir()} == {p.name: p.read_bytes() for p in made.iterdir()}
    assert RunFolder.open(arrived).complete


def test_what_arrives_replaces_an_unfinished_folder(tmp_path: Path) -> None:
    made = write_run(tmp_path / "made")
    old = tmp_path / "arrived"
    old.mkdir()
    (old / "samples.jsonl").write_text("half")
    ray_transfer.unpack(ray_transfer.pack(made), old)
    assert (old / "samples.jsonl").read_bytes() == (made / "samples.jsonl").read_bytes()


def test_storage_that_is_none_is_named(tmp_path: Path) -> None:
    made = write_run(tmp_path / "made")
    with pytest.raises(UsageError, match="nowhere"):
        ray_transfer.upload(made, "nowhere://bucket/run")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        ray_transfer.upload(made, str(tmp_path / "file" / "run"))
    study_file = tmp_path / "study.toml"
    study_file.write_text("name = 'tiny'")
    with pytest.raises(UsageError, match=r"--storage.*cannot be written"):
        ray_transfer.announce(study_file, str(tmp_path / "file" / "studies" / "tiny"))
    ray_transfer.announce(study_file, str(tmp_path / "storage" / "tiny"))
    assert (tmp_path / "storage" / "tiny" / "study.toml").read_text() == "name = 'tiny'"


class Buckets(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Buckets as S3 has them for fsspec: making a folder in one makes the bucket, putting a file into none fails."""

    protocol = "buckets"
    place: Path

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("buckets://")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        (self.place / path).mkdir(parents=True, exist_ok=exist_ok)

    def put_file(self, path1: str, path2: str, **_: object) -> None:
        if not (self.place / path2.split("/")[0]).is_dir():
            raise FileNotFoundError("The specified bucket does not exist")
        (self.place / path2).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path1, self.place / path2)


def test_a_bucket_is_never_made(tmp_path: Path) -> None:
    fsspec.register_implementation("buckets", Buckets, clobber=True)
    Buckets.place = tmp_path
    (tmp_path / "mine").mkdir()
    study_file = tmp_path / "study.toml"
    study_file.write_text("name = 'tiny'")
    ray_transfer.announce(study_file, "buckets://mine/studies/tiny")
    assert (tmp_path / "mine" / "studies" / "tiny" / "study.toml").is_file()
    with pytest.raises(UsageError, match=r"buckets://mien/studies/tiny cannot be written.*bucket does not exist"):
        ray_transfer.announce(study_file, "buckets://mien/studies/tiny")
    assert not (tmp_path / "mien").exists()


def test_a_run_takes_the_meter_of_its_node_unless_only_its_gpus_are_metered() -> None:
    assert requirements(SPEC, Resources(), False, 5 * 2**30) == {
        "num_cpus": 1, "num_gpus": 0, "max_retries": 0, "memory": 5 * 2**30, "resources": {METER: 1},
    }  # fmt: skip
    assert requirements(SPEC, Resources(), True, 5 * 2**30)["resources"] == {METER: 1}
    only_gpus = SPEC.model_copy(update={"meter": "nvidia"})
    assert "resources" not in requirements(only_gpus, Resources(gpus=2), True, None)
    assert requirements(only_gpus, Resources(gpus=0), True, None)["resources"] == {METER: 1}
    placed = requirements(SPEC, Resources(gpus=2, accelerator="L40S", memory_gib=8), True, None)
    assert (placed["num_gpus"], placed["accelerator_type"], placed["memory"]) == (2, "L40S", 8 * 2**30)


def until(what: Callable[[], object], driver: subprocess.Popen[bytes], log: Path) -> None:
    while not what():
        assert driver.poll() is None, log.read_text()[-3000:]
        time.sleep(0.2)


def sessions_on_nodes(nodes: list[str]) -> dict[tuple[str, str], int]:
    """Sessions that runs have begun on these nodes, by node and run, in the folders that nodes keep of their own."""
    kept = Path(tempfile.gettempdir()) / f"passkwh-{os.getuid()}" / "sweep"
    folders = [path.parent for node in nodes for path in kept.glob(f"*/{node}/*/manifest.json")]
    return {(path.parent.name, path.name): len(RunFolder.open(path).manifest().sessions) for path in folders}


@pytest.mark.slow
def test_a_study_on_three_nodes_survives_a_node_and_its_driver(
    tmp_path: Path, study_file: StudyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray import cluster_utils

    path = study_file("[[runs]]\nbatch_size = 1", "repeats = 3")
    text = path.read_text().replace("max_new_tokens = 8", "max_new_tokens = 60")
    path.write_text(text.replace("simulated:counter-50ms", "estimate"))  # a meter that needs the machine for itself
    out, log = tmp_path / "runs", tmp_path / "driver.log"
    each = {"num_cpus": 1, "resources": {METER: 1}, "object_store_memory": 100 * 2**20}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**each, "include_dashboard": False})
    try:
        others = {node.node_id: node for node in (cluster.add_node(**each), cluster.add_node(**each))}
        study = ["sweep", "run", path, "--ray", cluster.address, "--out", out]
        command = [sys.executable, "-m", "passkwh.cli.main", *study]

        def driver() -> subprocess.Popen[bytes]:
            with log.open("ab") as file:
                return subprocess.Popen(command, stdout=file, stderr=file)

        def events() -> list[Event]:
            return list(StudyFolder(out / "tiny").events()) if is_study(out / "tiny") else []

        def metered(nodes: object) -> list[dict[str, object]]:
            """What has the machine's meter now, on one of these nodes."""
            live = StudyFolder(out / "tiny").live() if is_study(out / "tiny") else []
            early = ("starting", "waiting", "loading")
            return [e for e in live if e["node"] in nodes and not e["stage"].startswith(early)]  # type: ignore[operator]

        first = driver()
        until(lambda: [event for event in events() if event.event == "started"], first, log)
        first.kill()
        first.wait()
        started = [event.pid for event in events() if event.event == "started"]
        psutil.wait_procs([psutil.Process(pid) for pid in started if pid and psutil.pid_exists(pid)], timeout=120)
        assert not [pid for pid in started if pid and kills._alive(pid)]
        begun = sessions_on_nodes([*others, cluster.head_node.node_id])

        second = driver()
        until(lambda: metered(others), second, log)
        (victim,) = metered(others)
        cluster.remove_node(others[str(victim["node"])], allow_graceful=False)
        assert second.wait() == 0, log.read_text()[-3000:]
    finally:
        cluster.shutdown()

    study = StudyFolder.open(out / "tiny")
    lost = [event for event in study.events() if event.kind == "lost node"]
    assert [event.run for event in lost] == [victim["run"]]
    ends = {event.run: str(event.node) for event in study.events() if event.event == "complete"}
    assert ends[victim["run"]] != victim["node"]
    assert study_status(study).complete
    # Begun anew elsewhere, never in the middle, but where the same node had begun it for the first driver.
    goes_on = sum(begun.get((node, run), 0) for run, node in ends.items())
    assert kills.check(out) == {"runs": 3, "samples": 6, "sessions": 3 + goes_on}
    folders = [RunFolder.open(study.path / planned.run_id) for planned in study.record().runs]
    answers = [[(s.text, s.verdict.status if s.verdict else None) for s in folder.samples()] for folder in folders]
    assert answers[0] == answers[1] == answers[2]  # greedy
    assert all(folder.manifest().host.cpu for folder in folders)
    spans = sorted(
        (min(w.start_ns for w in session.windows), max(w.end_ns for w in session.windows))
        for folder in folders
        for session in folder.manifest().sessions
    )
    for (_, end_ns), (start_ns, _) in itertools.pairwise(spans):
        assert end_ns < start_ns  # one clock, as all nodes are on this machine: never two metered at once


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379"])
def test_no_cluster_is_named(address: str) -> None:
    with pytest.raises(UsageError, match="no Ray cluster answers there"):
        Cluster(address)
