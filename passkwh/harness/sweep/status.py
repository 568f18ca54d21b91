"""How far a study is, from its ledger and its run folders: right after any kill, and quick for a thousand runs.

A run that the ledger knows as complete is not read again, only its files are looked at (present, and as long as they
were; ``thorough``, also what is in them). What the ledger does not know is read from the run's folder.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from passkwh.errors import UsageError
from passkwh.harness.sweep.folder import Event, PlannedRun, StudyFolder, StudyRecord
from passkwh.records import Record

FILES = ("manifest.json", "samples.jsonl", "trace.parquet", "summary.json")
"""What a complete run folder holds."""

State = Literal["waiting", "running", "complete", "failed", "stopped", "interrupted", "damaged"]


SHOWN_OF_SPEC = {"model", "quant", "engine", "exit", "benchmark", "batch_size", "concurrency", "repeat"}
"""Fields of a spec that tell the runs of a study apart."""


class RunStatus(Record):
    """One run of a study now."""

    run_id: str
    model: str
    quant: str
    engine: str
    exit: str | None
    benchmark: str
    batch_size: int
    concurrency: int = 1
    repeat: int
    state: State
    kind: str | None = None
    reason: Annotated[str | None, Field(description="of a failure or damage, or why a complete run has no energy")] = (
        None
    )
    host: str | None = None
    failures: int = 0
    elapsed_s: Annotated[float | None, Field(description="of the last attempt, by the monotonic clock")] = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    gross_energy_j: Annotated[
        float | None, Field(description="of a complete run; live, for the eye, of a running one")
    ] = None
    provenance: str | None = None
    pass_at_1: float | None = None
    samples: int | None = None


class StudyStatus(Record):
    """A study now."""

    study: str
    folder: str
    driven: Annotated[bool, Field(description="a `bench sweep run` is at work on it")]
    counts: dict[str, int]
    runs: tuple[RunStatus, ...]
    gross_energy_j: Annotated[float | None, Field(description="of complete runs so far; None when there are none")]
    without_energy: Annotated[int, Field(description="complete runs whose energy is missing: not in the sum")]
    provenance: Annotated[str | None, Field(description="of the sum; mixed where runs differ")]
    elapsed_s: Annotated[float, Field(description="of complete runs, by the monotonic clock")]
    left_s: Annotated[float | None, Field(description="at the pace so far; None before the first run is complete")]

    @property
    def complete(self) -> bool:
        """Whether every run is."""
        return self.counts.get("complete", 0) == len(self.runs)


def study_status(folder: StudyFolder, thorough: bool = False) -> StudyStatus:
    """``thorough`` also reads complete runs, as whoever computes with them should.

    Raises UsageError when ``study.json`` is damaged.
    """
    record = folder.record()
    driven = folder.driven()
    live = {entry["run"]: entry for entry in folder.live()} if driven else {}
    history = by_run(folder.events())
    runs = tuple(_run(folder, planned, history.get(planned.run_id, []), live, thorough) for planned in record.runs)
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.state] = counts.get(run.state, 0) + 1
    complete = [run for run in runs if run.state == "complete"]
    joules = [run.gross_energy_j for run in complete if run.gross_energy_j is not None]
    provenances = {run.provenance for run in complete if run.gross_energy_j is not None}
    return StudyStatus(
        study=record.settings.name,
        folder=str(folder.path),
        driven=driven,
        counts=counts,
        runs=runs,
        gross_energy_j=sum(joules) if joules else None,
        without_energy=len(complete) - len(joules),
        provenance=None if not provenances else provenances.pop() if len(provenances) == 1 else "mixed",
        elapsed_s=sum(run.elapsed_s or 0.0 for run in complete),
        left_s=_left(record, runs),
    )


def by_run(events: Iterable[Event]) -> dict[str, list[Event]]:
    """The ledger, run by run."""
    history: dict[str, list[Event]] = {}
    for event in events:
        if event.run is not None:
            history.setdefault(event.run, []).append(event)
    return history


def end_noted(events: Sequence[Event]) -> Event | None:
    """How a run was when it ended, by its events; None where it has not, or has begun anew since."""
    for event in reversed(events):
        if event.event == "started":
            return None
        if event.event == "complete":
            return event
    return None


def sizes(path: Path) -> dict[str, int]:
    """Bytes of a complete run's files."""
    return {name: (path / name).stat().st_size for name in FILES if (path / name).is_file()}


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of a complete run's files."""
    content = {}
    for name in FILES:
        if (path / name).is_file():
            with (path / name).open("rb") as file:
                content[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return content


def complete_run(path: Path) -> dict[str, Any]:
    """What the ledger keeps of a complete run folder. Raises UsageError when it is damaged."""
    from passkwh.harness.runs.folder import RunFolder  # not at the top: it loads pyarrow

    files = sizes(path)
    if lost := [name for name in FILES if name not in files]:
        raise UsageError(f"{path / lost[0]} is missing")
    summary = RunFolder.open(path).summary()
    return {
        "gross_energy_j": summary.gross_energy_j,
        "energy_reason": summary.energy_reason,
        "provenance": summary.provenance,
        "samples": summary.samples,
        "pass_at_1": summary.pass_at_k.get("1"),
        "files": files,
        "sha256": digests(path),
    }


def _run(
    folder: StudyFolder, planned: PlannedRun, events: list[Event], live: dict[str, dict[str, Any]], thorough: bool
) -> RunStatus:
    last = events[-1] if events else None
    known: dict[str, Any] = {
        "run_id": planned.run_id,
        **planned.spec.model_dump(include=SHOWN_OF_SPEC),
        "failures": sum(event.event == "failed" for event in events),
        "host": last.host if last else None, "elapsed_s": last.elapsed_s if last else None,
    }  # fmt: skip
    try:
        state = _state(folder, planned.run_id, events, live.get(planned.run_id), thorough)
    except OSError as error:  # one that may not be read does not keep the others back
        reason = f"{error.filename} cannot be read ({error.strerror}): make it readable"
        state = {"state": "damaged", "kind": "damaged", "reason": reason}
    return RunStatus.model_validate({**known, **state})


def _state(
    folder: StudyFolder, run_id: str, events: list[Event], live: dict[str, Any] | None, thorough: bool
) -> dict[str, Any]:
    path = folder.path / run_id
    last = events[-1] if events else None
    noted = end_noted(events)
    if (path / "summary.json").is_file():
        return _ended(path, noted, thorough)
    if noted is not None and last is noted and path.is_dir():
        return _damaged(f"{path / 'summary.json'} is missing, and the run was complete")
    if live is not None:
        names = ("stage", "done", "total")
        since_s = max(0.0, (time.monotonic_ns() - live["since_ns"]) / 1e9)
        return {
            "state": "running", **{name: live.get(name) for name in names}, "gross_energy_j": live.get("energy_j"),
            "elapsed_s": since_s, "host": live.get("host"),
        }  # fmt: skip
    if last is None or last.event == "complete":  # never begun, or removed to be run again
        return {"state": "waiting"}
    if last.event == "failed":
        return {"state": "failed", "kind": last.kind, "reason": last.reason}
    if last.event == "stopped":
        return {"state": "stopped"}
    return {"state": "interrupted", "reason": "its process or its driver ended without giving a reason"}


def _ended(path: Path, noted: Event | None, thorough: bool) -> dict[str, Any]:
    if noted is None:  # the driver was killed before it could note the end
        try:
            noted = Event(event="complete", at="", host="", **complete_run(path))
        except UsageError as error:
            return _damaged(str(error))
    elif (change := _change(path, noted, thorough)) is not None:
        return _damaged(change)
    values = {name: getattr(noted, name) for name in ("gross_energy_j", "provenance", "samples", "pass_at_1")}
    return {"state": "complete", "reason": noted.energy_reason, "elapsed_s": noted.elapsed_s, **values}


def _change(path: Path, noted: Event, thorough: bool) -> str | None:
    """What is not as it was when the run ended."""
    now = sizes(path)
    for name in FILES:
        if name not in now:
            return f"{path / name} is missing"
        if now[name] != noted.files.get(name):
            return f"{path / name} has {now[name]} bytes, and {noted.files.get(name)} when the run ended"
    read = digests(path) if thorough else noted.sha256
    changed = next((name for name, digest in noted.sha256.items() if read.get(name) != digest), None)
    return None if changed is None else f"{path / changed} has another content than when the run ended"


def _damaged(text: str) -> dict[str, Any]:
    return {"state": "damaged", "kind": "damaged", "reason": f"{text}: remove the folder to run it again"}


def _left(record: StudyRecord, runs: tuple[RunStatus, ...]) -> float | None:
    """Seconds left: what is not complete takes as long as its like has, else as the mean of all."""
    took = [run for run in runs if run.state == "complete" and run.elapsed_s]
    if not took:
        return None
    mean_s = sum(run.elapsed_s or 0.0 for run in took) / len(took)
    like: dict[Any, float] = {_configuration(run): run.elapsed_s or 0.0 for run in took}
    todo = [run for run in runs if run.state not in ("complete", "damaged")]  # damaged ones are left to people
    left_s = 0.0
    for run in todo:
        spent_s = run.elapsed_s or 0.0 if run.state == "running" else 0.0
        left_s += max(0.0, like.get(_configuration(run), mean_s) - spent_s) + record.settings.cool_down_s
    return left_s / max(1, sum(run.state == "running" for run in todo))  # a cluster does several at a time


def _configuration(run: RunStatus) -> tuple[Any, ...]:
    return (run.model, run.quant, run.engine, run.exit, run.benchmark, run.batch_size, run.concurrency)
