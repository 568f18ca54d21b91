"""Run folders: what is written is read back, a kill costs a torn line at most, a finished run never changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from passkwh.errors import UsageError
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.runs.folder import RunFolder, check_new
from passkwh.records import (
    BenchmarkInfo,
    ChannelInfo,
    Energy,
    HostInfo,
    Manifest,
    MeterInfo,
    ModelInfo,
    Sample,
    Spec,
    Summary,
    Window,
    sample_key,
)

MODEL = ModelInfo(
    name="m", adapter="base", chat=False, checkpoint="m", revision="0" * 8, dtype="float32", device="cpu", parameters=1
)
MANIFEST = Manifest(
    run_id="r",
    status="running",
    spec=Spec(model="m", max_new_tokens=8),
    model=MODEL,
    benchmark=BenchmarkInfo(name="b", version="1", source="s", sha256="0", tasks=1),
    host=HostInfo(os="Linux", kernel="6", python="3.11", cpu="c", cores=2, memory_bytes=1),
    meter=MeterInfo(
        name="simulated",
        interval_s=0.02,
        channels=(ChannelInfo(name="gpu:x", provenance="simulated", source="s", quantity="energy_j"),),
    ),
    versions={},
)


def sample(key: str = "a", order: int = 0, text: str = "x") -> Sample:
    return Sample(
        key=key,
        task_id="t/0",
        sample_index=0,
        order=order,
        batch_id=0,
        batch_size=1,
        seed=1,
        prompt_tokens=3,
        completion_tokens=2,
        text=text,
        finish_reason="stop",
        latency_s=0.5,
        generation=Window(kind="generate", session=0, start_ns=1, end_ns=2, batch_id=0),
    )


def rows(time_ns: int) -> pa.Table:
    return pa.table(
        {
            "session": pa.array([0], pa.int16()),
            "time_ns": pa.array([time_ns], pa.int64()),
            "channel": pa.array(["gpu:x"]).dictionary_encode(),
            "quantity": pa.array(["energy_j"]).dictionary_encode(),
            "value": pa.array([1.0]),
            "reason": pa.array([None], pa.string()),
        }
    ).cast(TRACE_SCHEMA)


SUMMARY = Summary(
    run_id="r", model="m", adapter="base", quant="none", benchmark="b", tasks=1, samples=1, solved=1.0,
    pass_at_k={"1": 1.0}, gross_energy_j=None, net_energy_j=None, energy_kwh=None, generation_energy_j=None,
    evaluation_energy_j=None, energy_reason="no channel", pass_at_kwh=None, solved_per_kwh=None, generation_s=1.0,
    evaluation_s=0.0, prompt_tokens=3, completion_tokens=2, tokens_per_s=None, joules_per_token=None,
    provenance="mixed", channels=(),
)  # fmt: skip


def test_samples_and_trace_survive_and_finish_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    writer = folder.trace_writer(0, TRACE_SCHEMA)
    writer.write(rows(1))
    writer.write(rows(2))
    folder.append([sample("a", 0), sample("b", 1)])
    folder.append([sample("a", 0, "again")])
    assert [(s.key, s.text) for s in folder.samples()] == [("a", "again"), ("b", "x")]
    assert folder.trace()["time_ns"].to_pylist() == [1, 2]  # readable while the stream is still open
    writer.close()

    folder.finish(MANIFEST, folder.samples(), folder.trace(), SUMMARY)
    folder.close()
    assert folder.complete
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "manifest.json", "samples.jsonl", "summary.json", "trace.parquet",
    ]  # fmt: skip
    again = RunFolder.open(folder.path)
    assert again.summary() == SUMMARY
    assert again.manifest() == MANIFEST
    assert len((folder.path / "samples.jsonl").read_text().splitlines()) == 2
    assert again.trace()["time_ns"].to_pylist() == [1, 2]
    with pytest.raises(UsageError, match="finished run, which is never changed"):
        RunFolder.resume(folder.path)
    with pytest.raises(UsageError, match="finished run"):
        check_new(folder.path)
    os.truncate(folder.path / "trace.parquet", 100)
    with pytest.raises(UsageError, match=r"trace\.parquet cannot be read.*restore it"):
        again.trace()
    (folder.path / "trace.parquet").unlink()
    with pytest.raises(UsageError, match=r"trace\.parquet cannot be read.*restore it"):
        again.trace()


@given(cut=st.integers(min_value=0, max_value=2000))
def test_a_torn_line_costs_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "run"
    folder = RunFolder.create(path, MANIFEST)
    folder.append([sample("a", 0), sample("b", 1), sample("c", 2)])
    folder.close()
    whole = (path / "samples.jsonl").read_bytes()
    torn = whole[: min(cut, len(whole))]
    (path / "samples.jsonl").write_bytes(torn)
    expected = ["a", "b", "c"][: torn.count(b"\n")]
    assert [s.key for s in RunFolder.open(path).samples()] == expected
    resumed = RunFolder.resume(path)
    resumed.append([sample("d", 3)])
    assert [s.key for s in resumed.samples()] == [*expected, "d"]
    resumed.close()


def test_a_torn_trace_gives_what_came_before(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    writer = folder.trace_writer(0, TRACE_SCHEMA)
    for time_ns in range(5):
        writer.write(rows(time_ns))
    stream = folder.path / "trace-000.arrows"
    content = stream.read_bytes()
    for length in range(0, len(content), 97):
        stream.write_bytes(content[:length])
        table = folder.trace()
        if table.num_rows:
            assert table["time_ns"].to_pylist() == list(range(table.num_rows))
    folder.close()


def test_a_trace_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    writer = folder.trace_writer(0, TRACE_SCHEMA)
    for time_ns in range(3):
        writer.write(rows(time_ns))
    folder.close()
    stream = folder.path / "trace-000.arrows"
    content = stream.read_bytes()
    for place in range(0, len(content), 23):
        stream.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(UsageError, match=r"trace-000\.arrows is damaged \(.*remove it"):
            folder.trace()


def test_a_trace_of_an_earlier_program_is_read(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    with pa.ipc.new_stream(folder.path / "trace-000.arrows", TRACE_SCHEMA) as stream:
        stream.write_table(rows(1))
        stream.write_table(rows(2))
    content = (folder.path / "trace-000.arrows").read_bytes()
    assert folder.trace()["time_ns"].to_pylist() == [1, 2]
    (folder.path / "trace-000.arrows").write_bytes(content[:-100])
    assert folder.trace()["time_ns"].to_pylist() == [1]
    folder.close()


def test_any_changed_byte_of_a_manifest_or_summary_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    folder.finish(MANIFEST, [sample("a", 0)], rows(1), SUMMARY)
    folder.close()
    for name in ("manifest.json", "summary.json"):
        content = (folder.path / name).read_bytes()
        for place in range(0, len(content), 5):
            other = tmp_path / f"{name}-{place}"  # what is read once for a state of a file is not read again
            other.mkdir()
            for file in folder.path.iterdir():
                (other / file.name).write_bytes(file.read_bytes())
            (other / name).write_bytes(
                content[:place] + bytes([content[place] ^ 1 << place % 7]) + content[place + 1 :]
            )
            changed = RunFolder.open(other)
            with pytest.raises(UsageError, match=name) as refusal:
                changed.manifest() if name == "manifest.json" else changed.summary()
            assert "\n" not in str(refusal.value)


def test_a_manifest_without_a_checksum_is_read(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    (folder.path / "manifest.json").write_text(MANIFEST.model_dump_json(indent=1))
    assert folder.manifest() == MANIFEST
    folder.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    code = (
        "import sys; from pathlib import Path; from passkwh.harness.runs.folder import RunFolder; "
        "from passkwh.errors import UsageError\n"
        "try: RunFolder.resume(Path(sys.argv[1]))\n"
        "except UsageError as error: print(error); sys.exit(2)"
    )
    other = subprocess.run([sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert "being written by another process" in other.stdout
    folder.close()


def test_places_that_cannot_hold_a_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        check_new(file / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").write_text("x")
    with pytest.raises(UsageError, match="not empty and not a run"):
        check_new(tmp_path / "other")
    RunFolder.create(tmp_path / "begun", MANIFEST).close()
    with pytest.raises(UsageError, match="--resume"):
        check_new(tmp_path / "begun")
    with pytest.raises(UsageError, match="not a run folder"):
        RunFolder.open(tmp_path / "nowhere")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    folder.append([sample("a")])
    folder.close()
    with (folder.path / "samples.jsonl").open("a") as file:
        file.write('{"not": "a sample"}\n')
    with pytest.raises(UsageError, match=r"samples\.jsonl, line 2.*remove it and --resume"):
        folder.samples()
    content = json.loads((folder.path / "manifest.json").read_text())
    content.pop("crc32", None)
    content["colour"] = "red"
    (folder.path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="colour"):
        folder.manifest()


def test_a_missing_energy_must_say_why() -> None:
    with pytest.raises(ValidationError, match="needs a reason"):
        Energy(gross_j=None, net_j=None)
    with pytest.raises(ValidationError, match="ends before it starts"):
        Window(kind="score", session=0, start_ns=2, end_ns=1)


def test_the_key_follows_what_determines_the_completion_and_nothing_else() -> None:
    spec = Spec(model="m", max_new_tokens=8)
    key = sample_key(spec, MODEL, "t/0", "prompt", 0)
    assert key == sample_key(spec.model_copy(update={"meter": "simulated", "idle_s": 1.0}), MODEL, "t/0", "prompt", 0)
    for change in ({"batch_size": 2}, {"max_new_tokens": 9}, {"temperature": 0.5}, {"seed": 1}, {"repeat": 1}):
        assert key != sample_key(spec.model_copy(update=change), MODEL, "t/0", "prompt", 0)
    assert key != sample_key(spec, MODEL.model_copy(update={"revision": "1"}), "t/0", "prompt", 0)
    assert key != sample_key(spec, MODEL, "t/1", "prompt", 0)
    assert key != sample_key(spec, MODEL, "t/0", "prompt ", 0)
    assert key != sample_key(spec, MODEL, "t/0", "prompt", 1)
