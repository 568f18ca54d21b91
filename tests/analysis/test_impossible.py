"""Numbers that cannot be are refused, naming file and field, by whatever reads complete runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from passkwh.analysis.frames import load
from passkwh.errors import UsageError
from passkwh.reports.leaderboard.validate import check_members
from passkwh.stored import seal, unseal
from perf import synthetic


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good")
    (run,) = synthetic.write_runs(root, synthetic.THESIS[:1], tasks=4, shorter=100.0, interval_s=0.5)
    assert len(load([run]).samples) == 4
    return run


def put(content: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for name in way:
        content = content[int(name)] if isinstance(content, list) else content[name]
    content[last] = value


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        *(("summary.json", "gross_energy_j", v) for v in (-5, 0, 1e308, -0.0, "1e400", 10**400)),
        *(("summary.json", "completion_tokens", v) for v in (-1, 10**30, 0.5, 1_000_000)),
        ("summary.json", "provenance", "measured"),
        ("summary.json", "channels.0.provenance", "measured"),
        ("summary.json", "pass_at_k.1", 1.5),
        ("summary.json", "energy_kwh", 1.0),
        ("summary.json", "samples", 0),
        ("summary.json", "run_id", "another"),
        *(("summary.json", "schema_version", v) for v in (0, -1, 99, "99", None)),
        *(("manifest.json", "schema_version", v) for v in (0, 99, 2.5)),
        *(("manifest.json", "host.cores", v) for v in (-1, 0, 1.5, 10**400)),
        *(("manifest.json", "sessions.0.started_at", v) for v in ("yesterday", "", "9999-99-99", "10000-01-01")),
        ("manifest.json", "meter.channels.0.provenance", "measured"),
        ("manifest.json", "meter.interval_s", 0),
        ("manifest.json", "spec.batch_size", 10**400),
        ("manifest.json", "model.parameters", 10**400),
    ],
    ids=lambda part: str(part)[:40],
)
def test_what_cannot_be_is_refused(good: Path, tmp_path: Path, file: str, field: str, value: Any) -> None:
    run = shutil.copytree(good, tmp_path / "run")
    content = json.loads((run / file).read_text())
    put(content, field, value)
    (run / file).write_text(json.dumps(content))
    with pytest.raises(UsageError) as refusal:
        load([run])
    assert str(run) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    members = {part.name: part.read_bytes() for part in run.iterdir()}
    assert not check_members(run, "", members).valid, "the board refuses what analysis and report refuse"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("completion_tokens", -1), ("completion_tokens", 10**30), ("prompt_tokens", 2**40), ("latency_s", 1e308),
        ("generation_energy.cpu:0.gross_j", -5.0), ("generation_energy.cpu:0.gross_j", 1e308), ("batch_size", 0),
        ("verdict.status", "passed"), ("order", -1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("forged", [False, True], ids=["plain", "with a checksum of its own"])
def test_a_sample_that_cannot_be_is_refused(good: Path, tmp_path: Path, field: str, value: Any, forged: bool) -> None:
    run = shutil.copytree(good, tmp_path / "run")
    samples = [json.loads(unseal(line)) for line in (run / "samples.jsonl").read_bytes().splitlines()]
    put(samples[1], field, value)
    lines = [seal(json.dumps(s)) if forged else json.dumps(s).encode() for s in samples]
    (run / "samples.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(UsageError, match=r"samples\.jsonl, line 2: not a sample"):
        load([run])


def test_samples_of_another_run_are_refused(good: Path, tmp_path: Path) -> None:
    (other,) = synthetic.write_runs(tmp_path, synthetic.THESIS[3:4], tasks=4, shorter=100.0, interval_s=0.5)
    run = shutil.copytree(good, tmp_path / "run")
    shutil.copy(other / "samples.jsonl", run)
    with pytest.raises(UsageError, match="is not one run"):
        load([run])


def test_a_name_that_stands_twice_is_refused(good: Path, tmp_path: Path) -> None:
    run = shutil.copytree(good, tmp_path / "run")
    text = (run / "summary.json").read_text()
    (run / "summary.json").write_text(text.replace("{", '{"gross_energy_j": 1.0, ', 1))
    with pytest.raises(UsageError, match="'gross_energy_j' stands twice"):
        load([run])
