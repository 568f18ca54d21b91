"""``bench export``: each format against its schema or reader, energies with what they are, and the way back."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

from passkwh.analysis.frames import Frames, Run, load
from passkwh.errors import UsageError
from passkwh.exchange.foreign_files import ForeignFile
from passkwh.exchange.importing import import_file
from passkwh.exchange.inspect_log import READER
from passkwh.harness.meter.trace import Trace
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.registry import EXPORTS

from ..reports.conftest import synthetic
from .test_import import DATA, TASKS

SCHEMAS = DATA / "schemas"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    synthetic.write_runs(root, synthetic.THESIS[:2], tasks=6, shorter=100.0, interval_s=0.5)
    return root


@pytest.fixture(scope="module")
def unmetered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without any energy: imported, of tasks in a file."""
    out = tmp_path_factory.mktemp("imported") / "run"
    import_file(DATA / "evalplus/samples.jsonl", out, options={"data": str(TASKS["evalplus"])}, tool_version="0.3.1")
    return out


def written(frames: Frames, format: str, out: Path) -> list[Path]:
    files: list[Path] = EXPORTS.get(format).write(frames, out)
    assert files
    assert all(file.is_file() for file in files)
    return files


def check_eee(files: list[Path]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Logs with their samples; each is of the schema."""
    log_schema, sample_schema = (
        json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8")) for name in ("eval", "instance_level_eval")
    )
    logs = []
    for file in files:
        if file.suffix == ".json":
            log = json.loads(file.read_text("utf-8"))
            jsonschema.validate(log, log_schema)
            companion = file.with_name(f"{file.stem}_samples.jsonl")
            rows = [json.loads(line) for line in companion.read_text("utf-8").splitlines()]
            for row in rows:
                jsonschema.validate(row, sample_schema)
            logs.append((log, rows))
    return logs


def test_every_eval_ever_is_of_its_schema_and_holds_every_energy(runs: Path, tmp_path: Path) -> None:
    frames = load([runs])
    logs = check_eee(written(frames, "eee", tmp_path))
    assert len(logs) == len(frames.runs)
    for run, (log, rows) in zip(frames.runs, sorted(logs, key=lambda one: _run_id(one[0])), strict=True):
        (result,) = log["evaluation_results"]
        details = result["score_details"]["details"]
        assert result["score_details"]["score"] == run.summary.pass_at_k["1"]
        assert float(details["gross_energy_j"]) == run.summary.gross_energy_j
        assert details["energy_provenance"] == run.summary.provenance
        own = frames.samples[frames.samples["run"] == frames.runs.index(run)]
        joules = [float(row["performance"]["additional_details"]["generation_gross_j"]) for row in rows]
        assert joules == pytest.approx(own["generation_gross_j"].tolist(), rel=1e-12)
        assert {row["performance"]["additional_details"]["energy_provenance"] for row in rows} == {
            run.summary.provenance
        }
        assert log["detailed_evaluation_results"]["total_rows"] == len(rows) == 6


def _run_id(log: dict[str, Any]) -> str:
    return str(log["source_metadata"]["additional_details"]["run_id"])


def test_an_energy_that_is_missing_has_its_reason_in_every_format(unmetered: Path, tmp_path: Path) -> None:
    frames = load([unmetered])
    reason = "imported from evalplus 0.3.1: not metered here"
    ((log, rows),) = check_eee(written(frames, "eee", tmp_path / "eee"))
    details = log["evaluation_results"][0]["score_details"]["details"]
    assert (details["energy_provenance"], details["energy_reason"]) == ("missing", reason)
    assert "gross_energy_j" not in details
    assert details["reported_by_evalplus_plus"] == "2 of 4 passed"
    assert {row["performance"]["additional_details"]["generation_reason"] for row in rows} == {reason}
    (hub,) = written(frames, "hf-eval", tmp_path / "hf")
    assert f"energy missing: {reason}" in hub.read_text("utf-8")
    record = json.loads(
        next(f for f in written(frames, "mlperf", tmp_path / "ml") if f.name == "energy.json").read_text()
    )
    assert (record["energy_per_stream_mj"], record["power_log"], record["power_log_reason"]) == (None, None, reason)
    table = pd.read_parquet(written(frames, "parquet", tmp_path / "parquet")[0])
    assert table["energy_reason"].tolist() == [reason]
    assert table["gross_energy_j"].isna().all()
    (file,) = written(frames, "inspect", tmp_path / "inspect")
    header = json.loads(zipfile.ZipFile(file).read("header.json"))
    assert header["eval"]["metadata"]["passkwh"]["energy"]["energy_reason"] == reason


def test_a_convention_leads_in_every_figure(runs: Path, tmp_path: Path) -> None:
    ours, thesis = load([runs]), load([runs], "thesis")
    for frames, name in ((ours, "passkwh"), (thesis, "thesis")):
        table, samples = (pd.read_csv(file) for file in written(frames, "csv", tmp_path / name))
        assert set(table["convention"]) == set(samples["convention"]) == {name}
        assert set(samples["provenance"]) == {run.summary.provenance for run in frames.runs}
        kwh = [
            run.summary.pass_at_k["1"] / per_kwh for run, per_kwh in zip(frames.runs, table["pass_at_kwh"], strict=True)
        ]
        assert kwh == pytest.approx([run.summary.energy_kwh for run in frames.runs], rel=1e-12)
        texts = [log["evaluation_results"][0]["score_details"]["details"] for log, _ in check_eee(
            written(frames, "eee", tmp_path / f"eee-{name}"))]  # fmt: skip
        assert all(text["energy_convention"].startswith(f"{name}: ") for text in texts)
    assert [run.summary.energy_kwh for run in ours.runs] != [run.summary.energy_kwh for run in thesis.runs]


def test_the_hubs_results_are_read_by_its_own_parser_and_name_no_data_set_that_was_not_run(
    runs: Path, unmetered: Path, tmp_path: Path
) -> None:
    yaml = pytest.importorskip("yaml")
    hub = pytest.importorskip("huggingface_hub")
    frames = load([unmetered])
    (file,) = written(frames, "hf-eval", tmp_path)
    content = yaml.safe_load(file.read_text("utf-8"))
    assert content[0]["dataset"] == {"id": "openai/openai_humaneval", "task_id": "openai_humaneval"}
    assert "judged by pass@kWh" in content[0]["notes"]
    if hasattr(hub, "parse_eval_result_entries"):
        entries = hub.parse_eval_result_entries(content)
        assert [entry.value for entry in entries] == list(frames.runs[0].summary.pass_at_k.values())
        assert hub.eval_result_entries_to_yaml(entries) == content
    golden = next(Path(__file__).parents[1].joinpath("golden", "schema-1").glob("*gptq*"))
    with pytest.raises(UsageError, match="embedded for tries and of no data set on the hub"):
        EXPORTS.get("hf-eval").write(load([golden]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def trace_joules(run: Run) -> float:
    """Of the counted channels from the first begin of generating to the last end, in whole milliseconds."""
    folder = RunFolder.open(run.path)
    spans = SampleTable.of(folder.samples()).measured
    trace = Trace.from_table(folder.trace(), run.manifest.meter.channels)
    begin_ns, end_ns = int(spans.start_ns.min()), int(spans.end_ns.max())
    end_ns -= (end_ns - begin_ns) % 1_000_000
    names = [channel.name for channel in run.manifest.meter.channels if channel.counted]
    joules = [trace.energy(name, 0, begin_ns, end_ns).gross_j for name in names]
    return sum(one for one in joules if one is not None)


def test_mlperfs_power_log_gives_back_the_energy_of_the_trace(runs: Path, tmp_path: Path) -> None:
    run = load([runs]).runs[0]
    files = written(load([run.path]), "mlperf", tmp_path)
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in next(
        f for f in files if f.name == "node_0.txt").read_text("utf-8").splitlines()]  # fmt: skip
    start, *readings, stop = lines
    assert (start["key"], stop["key"]) == ("power_measurement_start", "power_measurement_stop")
    assert start["metadata"]["provenance"] == run.summary.provenance
    times_ms = [line["time_ms"] for line in (start, *readings)]
    joules = sum(line["value"] * (after - before) / 1000.0 for line, before, after in zip(
        readings, times_ms, times_ms[1:], strict=False))  # fmt: skip
    assert joules == pytest.approx(trace_joules(run), rel=1e-9)
    system = json.loads(next(f for f in files if f.parent.name == "systems").read_text("utf-8"))
    assert system["host_processor_model_name"] == run.manifest.host.cpu
    assert system["cooling"] == "not recorded"


def test_a_run_that_is_exported_to_an_inspect_log_comes_back_as_it_was(runs: Path, tmp_path: Path) -> None:
    frames = load([runs], "thesis")
    for run, file in zip(frames.runs, written(frames, "inspect", tmp_path / "logs"), strict=True):
        result = import_file(file, tmp_path / run.path.name)
        before, after = RunFolder.open(run.path), RunFolder.open(tmp_path / run.path.name)
        assert after.samples() == before.samples()
        assert after.manifest().model_copy(update={"imported": None}) == before.manifest()
        assert after.manifest().imported == result.imported
        assert (result.imported.tool, result.imported.energies) == ("passkwh", "stated")
        assert after.summary().model_copy(update={"warnings": before.summary().warnings}) == before.summary()
        assert "the trace behind them is not in it" in after.summary().warnings[-1]
    again = load([tmp_path / run.path.name for run in frames.runs], "thesis")
    pd.testing.assert_frame_equal(again.samples, frames.samples)


def test_a_log_whose_records_contradict_each_other_is_refused(runs: Path, tmp_path: Path) -> None:
    (file, *_) = written(load([runs]), "inspect", tmp_path)
    forged = tmp_path / "forged.eval"
    with zipfile.ZipFile(file) as log, zipfile.ZipFile(forged, "w") as other:
        for name in log.namelist():
            content = log.read(name)
            if name == "header.json":
                header = json.loads(content)
                header["eval"]["metadata"]["passkwh"]["summary"]["energy_kwh"] /= 10
                content = json.dumps(header).encode()
            other.writestr(name, content)
    with pytest.raises(UsageError, match="is not one run"):
        import_file(forged, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- hostile archives


def _archive(path: Path, members: dict[str, bytes], damage: tuple[bytes, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if damage:
        path.write_bytes(path.read_bytes().replace(*damage))
    return path


HEADER = b'{"version": 2, "status": "success", "eval": {"task": "humaneval", "model": "m"}}'


@pytest.mark.parametrize(
    ("members", "seen"),
    [
        ({"header.json": HEADER}, "a log without samples"),
        ({"samples/a_epoch_1.json": b"{}"}, "without header.json"),
        ({"header.json": b"[]", "samples/a_epoch_1.json": b"{}"}, "not a JSON object"),
        ({"header.json": b'{"version": 99}', "samples/a_epoch_1.json": b"{}"}, "a log of version 99"),
        ({"header.json": b'{"version": 2}', "samples/a_epoch_1.json": b"{}"}, "eval is missing"),
        ({"header.json": HEADER, "samples/a_epoch_1.json": b"{}"}, "output is missing"),
        ({"header.json": HEADER, "samples/a_epoch_1.json": b"\xff"}, "not UTF-8"),
        ({"header.json": HEADER, "samples/a_epoch_1.json": b"[" * 10_000}, "cannot be read as JSON"),
        ({"header.json": HEADER, "samples/a_epoch_1.json": b" " * (2**28 + 1)}, "unpacks to 268435457 bytes"),
    ],
)
def test_hostile_archives_are_one_line(tmp_path: Path, members: dict[str, bytes], seen: str) -> None:
    file = _archive(tmp_path / "log.eval", members)
    with pytest.raises(UsageError, match=seen) as error:
        import_file(file, tmp_path / "out", options={"data": str(TASKS["inspect"])})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_archive_that_lies_of_its_sizes_is_not_unpacked_further(tmp_path: Path) -> None:
    file = _archive(tmp_path / "log.eval", {"header.json": HEADER, "samples/a_epoch_1.json": b" " * 1_000_000})
    content = file.read_bytes().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    file.write_bytes(content)
    with pytest.raises(UsageError, match="not what the directory states"):
        import_file(file, tmp_path / "out", options={"data": str(TASKS["inspect"])})


@pytest.mark.parametrize("at", range(0, 13_500, 700))
def test_a_damaged_archive_is_refused_or_read_whole(tmp_path: Path, at: int) -> None:
    content = bytearray((DATA / "inspect/humaneval.eval").read_bytes())
    content[at] ^= 0xFF
    (tmp_path / "log.eval").write_bytes(content)
    with suppress(UsageError):
        read = READER.read(ForeignFile(tmp_path / "log.eval"))
        assert len(read.samples) == 4  # a byte that is not looked at


# ---------------------------------------------------------------- the real packages, in an environment of their own

PYTHON = os.environ.get("PASSKWH_EXCHANGE_PYTHON", "")
"""An interpreter with inspect_ai, every-eval-ever, mlperf-logging, huggingface_hub and pyyaml (docs/exchange.md)."""

READ = """
import glob, json, sys, warnings
warnings.simplefilter("ignore")
from inspect_ai.log import read_eval_log
from every_eval_ever.eval_types import EvaluationLog
from every_eval_ever.instance_level_types import InstanceLevelEvaluationLog
from mlperf_logging.compliance_checker.mlp_parser import parse_file
from mlperf_logging.result_summarizer.result_summarizer import _compute_power_node
root, seen = sys.argv[1], {}
for file in sorted(glob.glob(root + "/inspect/*.eval")):
    log = read_eval_log(file)
    energies = [one.metadata["passkwh"]["generation_energy"] for one in log.samples]
    seen.setdefault("inspect", []).append([log.status, len(log.samples), log.results.scores[0].metrics["pass@1"].value,
        log.eval.metadata["passkwh"]["energy"]["gross_energy_j"], sum(map(len, energies))])
for file in sorted(glob.glob(root + "/eee/**/*.json", recursive=True)):
    log = EvaluationLog.model_validate_json(open(file).read())
    rows = open(file.removesuffix(".json") + "_samples.jsonl").read().splitlines()
    seen.setdefault("eee", []).append([len([InstanceLevelEvaluationLog.model_validate_json(row) for row in rows]),
        log.evaluation_results[0].score_details.details["gross_energy_j"]])
for file in sorted(glob.glob(root + "/mlperf/power/*/node_0.txt")):
    lines, failed = parse_file(file, "5.0.0")
    times = {line.key: line.timestamp for line in lines}
    joules = _compute_power_node(lines, times["power_measurement_stop"] - times["power_measurement_start"])
    seen.setdefault("mlperf", []).append([len(failed), joules])
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="PASSKWH_EXCHANGE_PYTHON names no interpreter with the other tools")
def test_the_other_tools_own_readers_read_what_is_written(runs: Path, tmp_path: Path) -> None:
    frames = load([runs])
    for format in ("inspect", "eee", "mlperf"):
        written(frames, format, tmp_path / format)
    done = subprocess.run([PYTHON, "-c", READ, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    energies = [repr(run.summary.gross_energy_j) for run in frames.runs]
    assert [one[:2] for one in seen["inspect"]] == [["success", 6]] * 2
    assert [one[2] for one in seen["inspect"]] == [run.summary.pass_at_k["1"] for run in frames.runs]
    assert [one[3] for one in seen["inspect"]] == energies
    assert sorted(one[1] for one in seen["eee"]) == sorted(energies)
    assert [one[0] for one in seen["eee"]] == [6, 6]
    for (failed, joules), run in zip(seen["mlperf"], frames.runs, strict=True):
        assert failed == 0
        assert joules == pytest.approx(trace_joules(run), rel=1e-9)
